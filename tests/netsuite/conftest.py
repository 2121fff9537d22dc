"""The double, running inside the process of the tests, and what opens it."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from rollback.connectors import client, oauth
from tests.netsuite.double import NetSuite

CLIENT_ID, CERTIFICATE_ID = "client-1", "cert-1"


def pem(key):
    """Write a private key as the environment holds it."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@pytest.fixture(scope="session")
def private_key():
    return ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(scope="session")
def running_netsuite(private_key):
    certificates = {CERTIFICATE_ID: private_key.public_key()}
    running = NetSuite(client_id=CLIENT_ID, certificates=certificates)
    yield running
    client.close()
    running.close()


@pytest.fixture
def netsuite(running_netsuite, private_key, settings):
    """NetSuite with empty books, where action types of these tests find it."""
    running_netsuite.reset()
    oauth.forget()
    opened_by = {
        "url": running_netsuite.url,
        "client_id": CLIENT_ID,
        "certificate_id": CERTIFICATE_ID,
        "private_key": pem(private_key),
    }
    settings.TARGETS = {**settings.TARGETS, "netsuite": opened_by}
    yield running_netsuite
    oauth.forget()


@pytest.fixture
def vendor(netsuite):
    return netsuite.books.vendor()


@pytest.fixture
def bill(netsuite, vendor):
    """A bill of 12,000.00, as somebody entered it."""
    return netsuite.books.bill(vendor, "12000.00")
