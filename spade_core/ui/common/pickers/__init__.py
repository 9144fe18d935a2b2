"""The pages' inputs: model, picture, trigger, class, trace, methods. They return values and compute nothing."""

from spade_core.ui.common.pickers.fields import matching, select
from spade_core.ui.common.pickers.folder import may_type, type_folder
from spade_core.ui.common.pickers.methods import CHOSEN_CLASS, pick_method_options, pick_methods, pick_target
from spade_core.ui.common.pickers.model import model_title, pick_model
from spade_core.ui.common.pickers.picture import (
    CORNER,
    HELD,
    SIZE,
    UPLOAD,
    Chosen,
    keep_upload,
    pick_frame,
    pick_picture,
    pick_trigger,
    select_picture,
    select_trigger,
)
from spade_core.ui.common.pickers.trace import pick_bundle, pick_trace

__all__ = [
    "CHOSEN_CLASS",
    "CORNER",
    "HELD",
    "SIZE",
    "UPLOAD",
    "Chosen",
    "keep_upload",
    "matching",
    "may_type",
    "model_title",
    "pick_bundle",
    "pick_frame",
    "pick_method_options",
    "pick_methods",
    "pick_model",
    "pick_picture",
    "pick_target",
    "pick_trace",
    "pick_trigger",
    "select",
    "select_picture",
    "select_trigger",
    "type_folder",
]
