"""The way out: to public addresses alone, by one deadline, and never around a corner."""

import ipaddress
import socket
import ssl
import subprocess
import threading
import time

import pytest

from merchants import outbound
from merchants.errors import ValidationFailed
from tests.merchants.webhooks.receivers import answering, dripping, flooding, hanging, hanging_up, receiver


@pytest.fixture
def loopback(settings):
    settings.OUTBOUND_ALLOW = [ipaddress.ip_network("127.0.0.0/8")]


def post(url, *, is_live=False):
    return outbound.post(url, body=b"{}", headers={"Content-Type": "application/json"}, is_live=is_live)


class TestIsPublic:
    @pytest.mark.parametrize("text", ["8.8.8.8", "1.1.1.1", "2606:4700::1111", "2a00:1450:4001:80b::200e"])
    def test_says_yes_to_hosts_of_the_internet(self, text):
        assert outbound.is_public(ipaddress.ip_address(text))

    @pytest.mark.parametrize(
        "text",
        [
            "0.0.0.0", "10.0.0.1", "100.64.0.1", "127.0.0.1", "169.254.169.254", "172.16.0.1", "192.0.0.1", "192.0.2.1",
            "192.88.99.1", "192.168.0.1", "198.18.0.1", "198.51.100.1", "203.0.113.1", "224.0.0.1", "239.1.1.1",
            "240.0.0.1", "255.255.255.255", "::", "::1", "::7f00:1", "::808:808", "64:ff9b::7f00:1", "64:ff9b:1::1",
            "100::1", "2001::1", "2001:db8::1", "2002:7f00:1::", "3fff::1", "5f00::1", "fc00::1", "fd00::1", "fe80::1",
            "fec0::1", "ff02::1",
        ],
    )  # fmt: skip
    def test_says_no_to_all_others(self, text):
        assert not outbound.is_public(ipaddress.ip_address(text))


class TestCheckUrl:
    @pytest.mark.parametrize(
        "url",
        [
            "https://hooks.example.com/in", "https://example.com:8443/a?b=c", "https://xn--bcher-kva.example/",
            "https://8.8.8.8/", "https://[2606:4700::1111]/",
        ],
    )  # fmt: skip
    def test_takes_public_https(self, url):
        assert outbound.check_url(url, "url", is_live=True) == url

    @pytest.mark.parametrize("url", ["http://127.0.0.1:9000/", "http://localhost:9000/"])
    def test_says_of_a_private_network_what_allows_it_in_test_mode(self, url):
        with pytest.raises(ValidationFailed, match=r"private network.*FARTHING_OUTBOUND_ALLOW"):
            outbound.check_url(url, "url", is_live=False)

    def test_takes_http_in_test_mode_alone(self):
        assert outbound.check_url("http://example.com/", "url", is_live=False)
        with pytest.raises(ValidationFailed):
            outbound.check_url("http://example.com/", "url", is_live=True)

    @pytest.mark.parametrize(
        "url",
        [
            "", "x", "//example.com/", "ftp://example.com/", "file:///etc/passwd", "javascript:alert(1)",
            "https://", "https:///a", "https:example.com", "https://user:pw@example.com/", "https://user@example.com/",
            "https://example.com/#a", "https://example.com#", "https://exa mple.com/", "https://example.com\\@evil/",
            "https://bücher.example/", "https://１２７.0.0.1/", "https://example.com:22/", "https://example.com:99999/",
            "https://example.com:x/", "https://localhost/", "https://LOCALHOST./", "https://a.localhost/",
            "https://db.internal/", "https://printer.local/", "https://127.0.0.1/", "https://127.1/",
            "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/", "https://[::1]/",
            "https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://169.254.169.254/latest/meta-data",
            "https://10.0.0.1/", "https://[fe80::1]/", "https://example.com/\x00", 5, None,
        ],
    )  # fmt: skip
    def test_refuses_what_is_not(self, url):
        for is_live in (True, False):
            with pytest.raises(ValidationFailed) as refused:
                outbound.check_url(url, "url", is_live=is_live)
            assert refused.value.errors[0]["field"] == "url"

    def test_takes_loopback_where_a_setting_allows_it_but_never_in_live_mode(self, loopback):
        assert outbound.check_url("http://127.0.0.1:9000/", "url", is_live=False)
        assert outbound.check_url("http://localhost:9000/", "url", is_live=False)
        with pytest.raises(ValidationFailed):
            outbound.check_url("https://127.0.0.1/", "url", is_live=True)
        with pytest.raises(ValidationFailed):
            outbound.check_url("http://10.0.0.1/", "url", is_live=False)


class TestPost:
    def test_says_the_name_and_sends_what_it_is_given(self, loopback, monkeypatch):
        monkeypatch.setattr(outbound, "resolve", lambda host, port: ["127.0.0.1"])
        with receiver(answering(200, b"thanks", X_Kind="a")) as peer:
            answer = post(f"http://hooks.example.com:{peer.port}/in")
        assert (answer.status, answer.body, answer.headers["x-kind"]) == (200, b"thanks", "a")
        [arrived] = peer.posts
        assert arrived.headers["host"] == f"hooks.example.com:{peer.port}"
        assert arrived.body == b"{}"

    @pytest.mark.parametrize(
        "addresses", [["10.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["::ffff:169.254.169.254"], ["fe80::1%eth0"]]
    )
    def test_refuses_a_name_that_leads_into_a_private_network(self, addresses, monkeypatch):
        monkeypatch.setattr(outbound, "resolve", lambda host, port: addresses)
        monkeypatch.setattr(socket, "create_connection", lambda *args, **options: pytest.fail("it connected"))
        with pytest.raises(outbound.Failed) as failed:
            post("https://hooks.example.com/")
        assert failed.value.why == "forbidden"

    def test_looks_up_once(self, loopback, monkeypatch):
        answers = iter([["127.0.0.1"], ["10.0.0.1"]])
        monkeypatch.setattr(outbound, "resolve", lambda host, port: next(answers))
        with receiver(answering(204, b"")) as peer:
            assert post(f"http://rebinding.example:{peer.port}/").status == 204

    def test_refuses_loopback_in_live_mode_whatever_the_setting(self, loopback, monkeypatch):
        monkeypatch.setattr(outbound, "resolve", lambda host, port: ["127.0.0.1"])
        with pytest.raises(outbound.Failed) as failed:
            post("https://hooks.example.com/", is_live=True)
        assert failed.value.why == "forbidden"

    def test_says_that_a_name_is_unknown(self, monkeypatch):
        def unknown(host, port):
            raise socket.gaierror

        monkeypatch.setattr(outbound, "resolve", unknown)
        with pytest.raises(outbound.Failed) as failed:
            post("https://hooks.example.com/")
        assert failed.value.why == "unresolved"

    def test_follows_no_redirect(self, loopback):
        with (
            receiver(answering(200)) as inner,
            receiver(answering(301, b"", Location=f"http://127.0.0.1:{inner.port}/")) as peer,
        ):
            assert post(peer.url).status == 301
        assert inner.connections == 0

    def test_reads_no_more_than_it_keeps(self, loopback):
        began = time.monotonic()
        with receiver(flooding) as peer:
            answer = post(peer.url)
        assert (answer.status, len(answer.body)) == (200, outbound.BYTES_MAX)
        assert time.monotonic() - began < 5

    @pytest.mark.parametrize("behaviour", [hanging, dripping])
    def test_has_one_deadline_for_all(self, behaviour, loopback, monkeypatch):
        monkeypatch.setattr(outbound, "SECONDS_MAX", 0.4)
        began = time.monotonic()
        with receiver(behaviour) as peer, pytest.raises(outbound.Failed) as failed:
            post(peer.url)
        assert failed.value.why == "timeout"
        assert time.monotonic() - began < 2

    def test_does_not_wait_for_a_resolver_that_hangs(self, monkeypatch):
        forever = threading.Event()
        monkeypatch.setattr(outbound, "SECONDS_MAX", 0.2)
        monkeypatch.setattr(outbound, "resolve", lambda host, port: forever.wait(5) and [])
        with pytest.raises(outbound.Failed) as failed:
            post("https://hooks.example.com/")
        assert failed.value.why == "unresolved"
        forever.set()

    def test_says_when_nobody_is_there(self, loopback):
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
        with pytest.raises(outbound.Failed) as failed:
            post(f"http://127.0.0.1:{port}/")
        assert failed.value.why == "unreachable"

    def test_says_when_it_hangs_up(self, loopback):
        with receiver(hanging_up) as peer, pytest.raises(outbound.Failed) as failed:
            post(peer.url)
        assert failed.value.why == "protocol"

    def test_believes_no_certificate_of_its_own_making(self, loopback, tmp_path):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=127.0.0.1",
             "-keyout", tmp_path / "key.pem", "-out", tmp_path / "cert.pem"],
            check=True, capture_output=True,
        )  # fmt: skip
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "cert.pem", tmp_path / "key.pem")

        def in_tls(connection, made):
            with context.wrap_socket(connection, server_side=True) as secure:
                made.read(secure)

        with receiver(in_tls) as peer, pytest.raises(outbound.Failed) as failed:
            post(f"https://127.0.0.1:{peer.port}/")
        assert failed.value.why == "tls"
        assert not peer.posts
