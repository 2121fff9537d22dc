"""The token endpoint: who is who, by a certificate, and until when."""

from __future__ import annotations

import secrets
import time
from urllib.parse import parse_qs

import jwt

from governance import clock

ALGORITHMS = ("PS256", "PS384", "PS512", "ES256", "ES384", "ES512")
ASSERTION_TYPE = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
AN_HOUR_S = 3600


class Refused(Exception):
    """No token. `error` is OAuth's word for it."""

    def __init__(self, error, description):
        super().__init__(description)
        self.error, self.description = error, description


class Tokens:
    """Gives tokens to one client, and knows which of them are good. The server lets one in at a time."""

    def __init__(self, url, *, client_id, certificates):
        self.url = url
        self.client_id = client_id
        self.certificates = certificates  # by id: a public key
        self.lasts_s = AN_HOUR_S
        self.issued = []
        self.assertions = []  # as they came in
        self._good_until = {}

    def give(self, content_type, body):
        """Return the answer to a request for a token, or raise Refused."""
        if content_type.partition(";")[0].strip() != "application/x-www-form-urlencoded":
            raise Refused("invalid_request", "The request is no form.")
        form = parse_qs(body.decode())
        said = {name: values[0] for name, values in form.items() if len(values) == 1}
        if said.get("grant_type") != "client_credentials":
            raise Refused("unsupported_grant_type", "Only client_credentials.")
        if said.get("client_assertion_type") != ASSERTION_TYPE:
            raise Refused("invalid_request", "The assertion is of no known type.")
        self._prove(said.get("client_assertion", ""))
        token = f"access-{secrets.token_urlsafe(24)}"
        self.issued.append(token)
        self._good_until[token] = time.monotonic() + self.lasts_s
        return {"access_token": token, "expires_in": str(self.lasts_s), "token_type": "bearer"}

    def good(self, header):
        """Whether an Authorization header opens the door."""
        kind, _, token = header.partition(" ")
        return kind.lower() == "bearer" and self._good_until.get(token, 0) > time.monotonic()

    def expire(self):
        """Have every token run out now."""
        self._good_until.clear()

    def _prove(self, assertion):
        self.assertions.append(assertion)
        try:
            head = jwt.get_unverified_header(assertion)
        except jwt.InvalidTokenError as problem:
            raise Refused("invalid_client", f"The assertion cannot be read: {problem}") from None
        if head.get("typ") != "JWT" or head.get("alg") not in ALGORITHMS:
            raise Refused("invalid_client", f"An assertion by {head.get('alg')} is not taken.")
        key = self.certificates.get(head.get("kid"))
        if key is None:
            raise Refused("invalid_client", "There is no such certificate.")
        try:
            claims = jwt.decode(
                assertion, key, algorithms=[head["alg"]], audience=self.url, issuer=self.client_id,
                options={"require": ["iss", "aud", "iat", "exp", "scope"], "verify_exp": False,
                         "verify_iat": False},
            )  # fmt: skip
        except jwt.InvalidTokenError as problem:
            raise Refused("invalid_client", f"The assertion is not good: {problem}") from None
        now = clock.real_now().timestamp()
        if claims["exp"] <= now or claims["iat"] > now + 5:
            raise Refused("invalid_client", "The assertion is not of now.")
        if claims["exp"] - claims["iat"] >= AN_HOUR_S:
            raise Refused("invalid_client", "exp must be less than 60 minutes after iat.")
        if "rest_webservices" not in claims["scope"]:
            raise Refused("invalid_scope", "The scope does not hold rest_webservices.")
