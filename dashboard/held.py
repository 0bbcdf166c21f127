"""Controls that show what the URL says, and never send back what they showed before it."""

from __future__ import annotations

import streamlit as st

MADE = "made_"


def key(name: str) -> str:
    """The key of the control `name` as it stands now."""
    made = st.session_state.get(MADE + name, 0)
    return f"{name}_{made}" if made else name


def hold(name: str, value: object) -> str:
    """Give the control `name` its value before it is made, and tell its key.

    The value of another address needs a control made anew: the old one may still send what it showed, which would
    be taken for a choice and lead back. A choice of the user's own changes nothing here, so the focus stays.
    """
    if st.session_state.get(key(name), value) != value:
        st.session_state[MADE + name] = st.session_state.get(MADE + name, 0) + 1
    st.session_state[key(name)] = value
    return key(name)
