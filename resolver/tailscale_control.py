"""Tailscale's control API: https://api.tailscale.com/api/v2. Policies are replaced only if nobody else did so since they were read (If-Match)."""

import time
from collections.abc import Callable, Sequence

from peer.core.mesh_provider import Device, Policy, SiteKey
from peer.errors import NetworkProviderError, PolicyChangedError, PolicyRefusedError
from resolver.json_fields import line_of, lines_of, objects_of, text_of, texts_of
from resolver.network_calls import OK, Answer, Asked, Calls, policy_text, refused, secret_of

URL = "https://api.tailscale.com"
CLIENT_PREFIX = "tskey-client-"
"""What the secret of an OAuth client begins with; other keys are shown as they are."""

HUJSON = "application/hujson"
CHANGED = 412
TOKEN_LASTS_MAX_S = 24 * 3600
TOKEN_MARGIN_S = 60.0
"""How long before its end a token is not used any more."""


class TailscaleControl:
    """A `NetworkProvider`: one tailnet."""

    name = "tailscale"

    def __init__(self, url: str, tailnet: str, secret: str, client_id: str, clock: Callable[[], float] = time.monotonic) -> None:
        """`secret` is an API key, or that of the OAuth client `client_id`. `tailnet` may be `-` for the one that the key is of."""
        self._calls = Calls(url or URL)
        self._tailnet = f"/api/v2/tailnet/{tailnet or '-'}"
        self._secret = secret
        self._client_id = client_id
        self._clock = clock
        self._token = ""
        self._token_until = 0.0

    async def close(self) -> None:
        """Keep no connection."""
        await self._calls.close()

    async def devices(self) -> Sequence[Device]:
        """The machines in the tailnet."""
        answer = await self._call(Asked("GET", "/devices"))
        if answer.status not in OK:
            raise self._refused(answer, "list machines")
        return [
            Device(
                line_of(each, "nodeId"),
                line_of(each, "name").rstrip("."),
                lines_of(each, "addresses"),
                lines_of(each, "tags"),
                each.get("connectedToControl") is True,
            )
            for each in objects_of(answer.document(), "devices")
        ]

    async def policy(self) -> Policy:
        """Who may talk to whom, comments included."""
        answer = await self._call(Asked("GET", "/acl", {"Accept": HUJSON}))
        if answer.status not in OK:
            raise self._refused(answer, "show its policy")
        version = answer.headers.get("etag", "")
        if not version.isascii() or not version:
            raise NetworkProviderError("the coordination server does not say which version its policy has", fix="check network.url")
        return Policy(policy_text(answer.data), version)

    async def check(self, text: str) -> None:
        """Have the tests in a policy run. Raises `PolicyRefusedError` where they fail."""
        answer = await self._call(Asked("POST", "/acl/validate", {"Content-Type": HUJSON}, text=text))
        if answer.status not in OK:
            raise self._refused(answer, "take this policy")
        if text_of(answer.document(), "message"):
            words = self._calls.words(_reason(answer))
            raise PolicyRefusedError(f"the mesh would not take this policy: {words}", fix="look at the tests in the policy")

    async def write(self, text: str, before: Policy) -> None:
        """Replace the policy, unless somebody else did."""
        answer = await self._call(Asked("POST", "/acl", {"Content-Type": HUJSON, "If-Match": before.version}, text=text))
        if answer.status == CHANGED:
            raise PolicyChangedError("the policy of the mesh was changed meanwhile; nothing was written", fix="look at `recmesh network plan` again")
        if answer.status not in OK:
            raise self._refused(answer, "take this policy")

    async def site_key(self, tags: Sequence[str], expires_s: int) -> SiteKey:
        """A key for one machine."""
        create = {"reusable": False, "ephemeral": False, "preauthorized": True, "tags": list(tags)}
        order = {"keyType": "auth", "description": "recmesh site", "capabilities": {"devices": {"create": create}}, "expirySeconds": expires_s}
        answer = await self._call(Asked("POST", "/keys", body=order))
        if answer.status not in OK:
            raise self._refused(answer, "make a key")
        made = answer.document()
        if not secret_of(made, "key"):
            raise NetworkProviderError("the coordination server made no key", fix="see what it lists under its keys")
        return SiteKey(secret_of(made, "key"), line_of(made, "expires"))

    async def _call(self, asked: Asked) -> Answer:
        return await self._calls.call(asked._replace(path=self._tailnet + asked.path), await self._bearer())

    def _refused(self, answer: Answer, what: str) -> NetworkProviderError:
        return refused(answer, what, self._calls.words(_reason(answer)))

    async def _bearer(self) -> str:
        """The API key, or a token for the secret of an OAuth client, which is good for an hour."""
        if not self._secret.startswith(CLIENT_PREFIX):
            return self._secret
        if self._clock() >= self._token_until:
            form = {"client_id": self._client_id, "client_secret": self._secret, "grant_type": "client_credentials"}
            answer = await self._calls.call(Asked("POST", "/api/v2/oauth/token", form=form, secret=self._secret), "")
            if answer.status not in OK:
                raise refused(answer, "give a token", "")
            told = answer.document()
            lasts = told.get("expires_in")
            self._token = secret_of(told, "access_token")
            if not self._token:
                raise NetworkProviderError("the coordination server gives no token", fix="check network.client_id and network.credential_file")
            self._token_until = self._clock() + (min(lasts, TOKEN_LASTS_MAX_S) if isinstance(lasts, int) else 0) - TOKEN_MARGIN_S
        return self._token


def _reason(answer: Answer) -> str:
    """The server's message, with the first complaint of each test that failed, or the text as it is."""
    try:
        told = answer.document()
    except NetworkProviderError:
        return answer.text
    complaints = [complaint for each in objects_of(told, "data") for complaint in texts_of(each, "errors")[:1]]
    return "; ".join([text_of(told, "message"), *complaints])
