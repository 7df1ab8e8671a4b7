"""Headscale's API, version 1, as 0.29 and 0.30 speak it: what they say of errors differs, and is read both ways.

It knows no If-Match: before a policy is written it is read again and compared, so that two who write within the same moment are not told apart.
"""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from peer.core.mesh_provider import Device, Policy, SiteKey
from peer.errors import NetworkProviderError, PolicyChangedError, PolicyRefusedError
from resolver.json_fields import line_of, lines_of, object_of, objects_of, text_of
from resolver.network_calls import OK, Answer, Asked, Calls, policy_text, refused, secret_of

BASE = "/api/v1"
REFUSALS = (400, 422, 500)
"""How a policy is refused: 0.30 says 400, 0.29 says 500 for nearly everything."""


class HeadscaleControl:
    """A `NetworkProvider`: one Headscale."""

    name = "headscale"

    def __init__(self, url: str, secret: str) -> None:
        """`secret` is an API key."""
        self._calls = Calls(url)
        self._secret = secret

    async def close(self) -> None:
        """Keep no connection."""
        await self._calls.close()

    async def devices(self) -> Sequence[Device]:
        """The machines in the mesh."""
        answer = await self._call("GET", "/node", "list machines")
        return [
            Device(
                line_of(each, "id"),
                line_of(each, "givenName") or line_of(each, "name"),
                lines_of(each, "ipAddresses"),
                lines_of(each, "tags"),
                each.get("online") is True,
            )
            for each in objects_of(answer.document(), "nodes")
        ]

    async def policy(self) -> Policy:
        """Who may talk to whom, comments included."""
        told = (await self._call("GET", "/policy", "show its policy")).document()
        text = policy_text(text_of(told, "policy").encode(errors="surrogatepass"))
        if not text:
            raise NetworkProviderError("the coordination server shows no policy", fix="give it one first; {} will do")
        return Policy(text, line_of(told, "updatedAt"))

    async def check(self, text: str) -> None:
        """Have a policy looked at. Raises `PolicyRefusedError`."""
        await self._offer("POST", "/policy/check", text)

    async def write(self, text: str, before: Policy) -> None:
        """Replace the policy, unless somebody else did."""
        now = await self.policy()
        if now != before:
            raise PolicyChangedError("the policy of the mesh was changed meanwhile; nothing was written", fix="look at `recmesh network plan` again")
        await self._offer("PUT", "/policy", text)

    async def site_key(self, tags: Sequence[str], expires_s: int) -> SiteKey:
        """A key for one machine, which belongs to its tags and to no user."""
        expires = (datetime.now(UTC) + timedelta(seconds=expires_s)).isoformat(timespec="seconds").replace("+00:00", "Z")
        order = {"reusable": False, "ephemeral": False, "expiration": expires, "aclTags": list(tags)}
        made = (await self._call("POST", "/preauthkey", "make a key", body=order)).document()
        key = object_of(made, "preAuthKey")
        if not secret_of(key, "key"):
            raise NetworkProviderError("the coordination server made no key", fix="see `headscale preauthkeys list`")
        return SiteKey(secret_of(key, "key"), line_of(key, "expiration"))

    async def _offer(self, method: str, path: str, text: str) -> None:
        answer = await self._calls.call(Asked(method, BASE + path, body={"policy": text}), self._secret)
        if answer.status in REFUSALS:
            words = self._calls.words(_reason(answer))
            raise PolicyRefusedError(f"the mesh would not take this policy: {words}", fix="look at the policy, and at policy.mode of the server")
        if answer.status not in OK:
            raise refused(answer, "take this policy", self._calls.words(_reason(answer)))

    async def _call(self, method: str, path: str, what: str, body: object = None) -> Answer:
        answer = await self._calls.call(Asked(method, BASE + path, body=body), self._secret)
        if answer.status not in OK:
            raise refused(answer, what, self._calls.words(_reason(answer)))
        return answer


def _reason(answer: Answer) -> str:
    """`message` of 0.29's gateway, `detail` of 0.30's problem documents, or the text as it is."""
    try:
        told = answer.document()
    except NetworkProviderError:
        return answer.text
    return text_of(told, "message") or text_of(told, "detail") or text_of(told, "title")
