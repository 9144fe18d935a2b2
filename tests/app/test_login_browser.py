"""The OIDC login against a provider that signs real tokens, by clicks in headless Chromium."""

from __future__ import annotations

import pytest

from benchmarks.serving import free_port, start_server, stop_server
from tests.app.waiting import says

pytestmark = pytest.mark.browser
LISTED = "admin@example.org"
PEOPLE = {
    "admin": {"email": LISTED, "email_verified": True},
    "unverified": {"email": LISTED, "email_verified": False},
}


@pytest.fixture(scope="module")
def provider():
    """Yield the address of a provider that knows these people."""
    oidc = pytest.importorskip("oidc_provider_mock")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTHLIB_INSECURE_TRANSPORT", "1")
        people = [oidc.User(sub=name, claims=claims) for name, claims in PEOPLE.items()]
        with oidc.run_server_in_thread(user_claims=people) as server:
            yield f"http://localhost:{server.server_port}"


@pytest.fixture(scope="module")
def url(provider, home):
    """Yield the address of a server with this login; its name makes it none of the server's own computer."""
    port = free_port()
    found = f"http://study.localhost:{port}"
    folder = home / ".streamlit"
    folder.mkdir()
    (folder / "secrets.toml").write_text(
        f'[auth]\nredirect_uri = "{found}/oauth2callback"\ncookie_secret = "0123456789abcdef0123456789abcdef"\n'
        f'client_id = "spade"\nclient_secret = "secret"\n'
        f'server_metadata_url = "{provider}/.well-known/openid-configuration"\n'
    )
    environment = {"HOME": str(home), "SPADE_DATA_DIR": str(home), "SPADE_JOBS": "inline", "SPADE_ADMIN_EMAILS": LISTED}
    process, _ = start_server("app.py", environment, port=port)
    try:
        yield found
    finally:
        stop_server(process)


def log_in(page, url, name):
    page.goto(f"{url}/study")
    page.get_by_role("button", name="Log in with your account").click()
    page.get_by_role("button", name=name, exact=True).click()
    page.wait_for_url(f"{url}/**", wait_until="commit")
    page.goto(f"{url}/study")


def test_a_listed_address_opens_the_page_and_log_out_closes_it(page, url):
    log_in(page, url, "admin")
    says(page, "There are no studies yet")
    says(page, f"Logged in as {LISTED}")
    other = page.context.new_page()
    other.goto(f"{url}/study")
    other.get_by_role("button", name="Make the demo study").wait_for()
    page.get_by_role("button", name="Log out").click()
    page.get_by_role("button", name="End session").click()
    page.wait_for_url(f"{url}/**", wait_until="commit")
    page.goto(f"{url}/study")
    page.get_by_role("button", name="Log in with your account").wait_for()
    assert page.get_by_text("New study").count() == 0
    other.get_by_role("button", name="Make the demo study").click()
    says(other, "This login has ended")


def test_a_listed_address_that_is_not_verified_is_refused_by_one_sentence(page, url):
    log_in(page, url, "unverified")
    says(page, f"has not confirmed that {LISTED} is yours")
    assert page.get_by_test_id("stAlert").count() == 1
    assert page.get_by_text("New study").count() == 0
