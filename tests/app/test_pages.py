"""The frame that all pages have."""

from __future__ import annotations

import re

import pytest

from mezoroi.app.roles import Role
from tests.app.conftest import App


@pytest.mark.parametrize(
    ("path", "marked"),
    [
        ("/", "/"),
        ("/fruits", "/fruits"),
        ("/lots", "/fruits"),
        ("/summary", "/fruits"),
        ("/practice/settings", "/practice"),
        ("/standard", "/references"),
        ("/graders", "/admin"),
        ("/admin/audit", "/admin"),
    ],
)
def test_the_navigation_marks_where_a_page_belongs(app: App, path: str, marked: str) -> None:
    page = app.client(Role.ADMIN).get(path)
    assert page.status_code == 200
    navigation = re.search(r"<nav.*?</nav>", page.text, re.DOTALL)
    assert navigation is not None
    assert re.findall(r'href="([^"]+)" aria-current="page"', navigation[0]) == [marked]
