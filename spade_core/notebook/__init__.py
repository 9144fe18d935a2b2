"""Results in a notebook: a viewer with a divider between dense and SPADE, the method's choice and the values under the
pointer.

``anywidget``, which it stands on, is optional and imported when the first viewer is made.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from spade_core.errors import ConfigError
from spade_core.results.comparison import Analysis

if TYPE_CHECKING:
    from spade_core.notebook.viewer import Viewer
    from spade_core.results.drawing import Visualization


def view(result: Analysis | Visualization) -> Viewer:
    """Return a widget that shows a result in Jupyter, Colab, marimo or VS Code.

    Args:
        result: of ``spade_core.analyse``, a pair of maps a method, or of ``spade_core.visualize``, its drawings.

    Raises:
        ConfigError: anywidget is not installed, or the result is of another kind.
    """
    try:
        from spade_core.notebook.viewer import of_analysis, of_visualization
    except ModuleNotFoundError as error:
        if error.name != "anywidget":
            raise
        needed = "pip install -r requirements-notebook.txt, or spade-studio[notebook]"
        raise ConfigError(f"The viewer needs anywidget, install it with: {needed}.") from error
    if isinstance(result, Analysis):
        return of_analysis(result)
    from spade_core.results.drawing import Visualization  # whose libraries warn when they are imported

    if isinstance(result, Visualization):
        return of_visualization(result)
    raise ConfigError(f"The viewer shows no {type(result).__name__}: give it what analyse or visualize returned.")
