"""SPADE Studio: the server of the pages. Run with ``streamlit run app.py``."""

from __future__ import annotations

import streamlit as st
from starlette.middleware import Middleware

from spade_core.ui.common.assets import LightFrontend
from spade_core.ui.common.doors import Doors
from spade_core.ui.common.frame import warm
from spade_core.ui.common.headers import SafeHeaders
from spade_core.ui.common.uploads import LimitedUploads
from spade_core.ui.participant.route import trial_routes

middleware = [Middleware(SafeHeaders), Middleware(Doors), Middleware(LimitedUploads), Middleware(LightFrontend)]
app = st.App("home.py", lifespan=warm, routes=trial_routes(), middleware=middleware)
