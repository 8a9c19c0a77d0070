from __future__ import annotations

import datetime as dt
import gzip
import io
import json
import socket
import time
from email.utils import parsedate_to_datetime
from pathlib import Path

import httpx
import pytest
import simplejpeg
from PIL import Image
from protego import Protego

from tasks.rehearse.faults import BOMB, FLAT_SIDES
from tasks.rehearse.plan import LOG, Address, Plan
from tasks.rehearse.stage import Rehearsal

from .conftest import of_kind


def paged(client: httpx.Client, *, per_page: int, **query: str | int) -> list[dict[str, object]]:
    """Page as a polite visitor does, with id_above."""
    seen: list[dict[str, object]] = []
    above = 0
    for _ in range(200):
        answer = client.get(
            "/v1/observations",
            params={"order_by": "id", "order": "asc", "per_page": per_page, "id_above": above, **query},
        ).json()
        if not answer["results"]:
            return seen
        assert len(answer["results"]) <= per_page
        seen += answer["results"]
        above = answer["results"][-1]["id"]
    pytest.fail("the pages have no end")


def taxon(plan: Plan, name: str) -> int:
    return next(item.id for item in plan.taxa if item.name == name)


def test_paging_with_id_above_meets_each_observation_once(client: httpx.Client, plan: Plan) -> None:
    number = taxon(plan, "Attacus atlas")
    ids = [item["id"] for item in paged(client, per_page=7, taxon_id=number)]
    assert ids == [item.id for item in plan.observations if item.taxon_id == number]
    assert len(ids) > 14


def test_a_page_holds_at_most_two_hundred(client: httpx.Client) -> None:
    assert client.get("/v1/observations", params={"per_page": 500}).json()["per_page"] == 200


def test_the_window_of_page_numbers_ends(client: httpx.Client) -> None:
    answer = client.get("/v1/observations", params={"per_page": 200, "page": 51})
    assert answer.status_code == 403
    assert "window" in answer.json()["error"]


def test_a_wrong_parameter_is_answered_with_422(client: httpx.Client) -> None:
    assert client.get("/v1/observations", params={"taxon_id": "moth"}).status_code == 422


def test_quality_grade_and_place_filter(client: httpx.Client) -> None:
    both = paged(client, per_page=200, taxon_id=47208, place_id=7, quality_grade="research,needs_id")
    research = paged(client, per_page=200, taxon_id=47208, place_id=7, quality_grade="research")
    assert {item["quality_grade"] for item in research} == {"research"}
    assert 0 < len(research) <= len(both)
    assert paged(client, per_page=200, taxon_id=47208, place_id=8) == []


def test_licences_are_mixed_and_the_licence_filter_means_at_least_one_photo(client: httpx.Client) -> None:
    photos = [photo for item in paged(client, per_page=200) for photo in item["photos"]]  # type: ignore[attr-defined]
    assert {photo["license_code"] for photo in photos} >= {None, "cc0", "cc-by", "cc-by-nc"}
    assert all(photo["url"].rsplit("/", 1)[1].startswith("square.") for photo in photos)
    asked = paged(client, per_page=200, photo_license="cc0,cc-by")
    assert 0 < len(asked) < len(paged(client, per_page=200))
    for item in asked:
        assert {photo["license_code"] for photo in item["photos"]} & {"cc0", "cc-by"}  # type: ignore[attr-defined]


def test_taxa_are_found_by_name_and_by_id(client: httpx.Client, plan: Plan) -> None:
    found = client.get("/v1/taxa", params={"q": "lucanus cervus"}).json()["results"]
    assert [item["name"] for item in found] == ["Lucanus cervus"]
    assert client.get(f"/v1/taxa/{found[0]['id']}").json()["results"][0]["name"] == "Lucanus cervus"
    assert client.get("/v1/taxa/47208").json()["results"][0]["id"] == 47208
    assert client.get("/v1/taxa", params={"q": "Draco"}).json()["total_results"] == 0
    by_name = paged(client, per_page=200, taxon_name="Lucanus cervus")
    assert by_name == paged(client, per_page=200, taxon_id=taxon(plan, "Lucanus cervus"))


@pytest.mark.real
def test_answers_have_fields_of_the_real_ones(client: httpx.Client, real_data: Path) -> None:
    recorded = real_data / "fixtures" / "inaturalist_api" / "v1"
    for name, path in (("get_observations_page1", "/v1/observations"), ("get_taxa", "/v1/taxa")):
        real = json.loads((recorded / f"{name}.json").read_text(encoding="utf-8"))
        ours = client.get(path).json()
        assert set(ours) == set(real)
        assert set(ours["results"][0]) <= set(real["results"][0])
        for inner in {"photos", "user", "taxon"} & set(ours["results"][0]):
            one, other = ours["results"][0][inner], real["results"][0][inner]
            assert set(one[0] if inner == "photos" else one) <= {
                *(other[0] if inner == "photos" else other),
                "preferred_common_name",  # absent where a taxon has none
            }


def test_the_stored_size_is_the_files_bytes_and_smaller_words_are_resized(
    client: httpx.Client, plan: Plan, rehearsal: Rehearsal
) -> None:
    address = next(item for item in of_kind(plan, "photo") if item.key.startswith("/photos/"))
    suffix = address.path.rsplit(".", 1)[1]
    body = (rehearsal.site / address.file).read_bytes()
    for word in ("medium", "large", "original"):
        assert client.get(f"{address.key}/{word}.{suffix}").content == body
    with Image.open(io.BytesIO(body)) as image:
        kind, size = image.format, image.size
    for word, side in (("square", 75), ("thumb", 100), ("small", 240)):
        with Image.open(io.BytesIO(client.get(f"{address.key}/{word}.{suffix}").content)) as image:
            assert max(image.size) == min(side, max(size))
            assert image.format == kind
            assert word != "square" or image.size == (75, 75)


def test_a_hosted_picture_is_served_at_its_address(client: httpx.Client, plan: Plan, rehearsal: Rehearsal) -> None:
    hosted = [item for item in of_kind(plan, "photo") if not item.key.startswith("/photos/")]
    assert {"my%20pictures", "media", "images", "wp-content", "fotos"} == {item.path.split("/")[1] for item in hosted}
    for address in hosted:
        answer = client.get(address.path)
        assert answer.content == (rehearsal.site / address.file).read_bytes()
        assert answer.headers["content-type"].startswith("image/")


@pytest.mark.parametrize(
    ("kind", "status"), [("missing", 404), ("gone", 410), ("forbidden", 403), ("unavailable", 503), ("throttled", 429)]
)
def test_a_refusal_is_repeated_every_time(client: httpx.Client, plan: Plan, kind: str, status: int) -> None:
    for address in of_kind(plan, kind):
        answers = [client.get(address.path) for _ in range(2)]
        assert [answer.status_code for answer in answers] == [status, status]
        assert ("retry-after" in answers[0].headers) == (status == 429)


def test_a_busy_address_asks_to_wait_once(client: httpx.Client, plan: Plan) -> None:
    address = of_kind(plan, "busy-once")[0]
    first, second = client.get(address.path), client.get(address.path)
    assert (first.status_code, first.headers["retry-after"]) == (429, "1")
    assert second.status_code == 200
    assert Image.open(io.BytesIO(second.content)).format


def test_a_slow_address_delivers_everything(client: httpx.Client, plan: Plan, rehearsal: Rehearsal) -> None:
    address = of_kind(plan, "slow")[0]
    began = time.monotonic()
    assert client.get(address.path).content == (rehearsal.site / address.file).read_bytes()
    assert 0.9 < time.monotonic() - began < 2


def test_a_hanging_address_never_answers(client: httpx.Client, plan: Plan) -> None:
    with pytest.raises(httpx.ReadTimeout):
        client.get(of_kind(plan, "hanging")[0].path, timeout=0.4)


def test_a_body_cut_short_ends_before_its_content_length(plan: Plan, client: httpx.Client) -> None:
    for address in of_kind(plan, "cut-short"):
        head, body = raw(client, address)
        promised = next(
            int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")
        )
        assert 0 < len(body) < promised
        with pytest.raises(httpx.RemoteProtocolError):
            client.get(address.path)


def raw(client: httpx.Client, address: Address) -> tuple[bytes, bytes]:
    with socket.create_connection((client.base_url.host, client.base_url.port or 0), timeout=3) as connection:
        connection.sendall(f"GET {address.path} HTTP/1.1\r\nHost: {client.base_url.host}\r\n\r\n".encode())
        received = b""
        while part := connection.recv(65536):
            received += part
    head, _, body = received.partition(b"\r\n\r\n")
    return head, body


@pytest.mark.parametrize("kind", ["truncated", "truncated-90", "truncated-99"])
def test_a_truncated_jpeg_arrives_whole_and_does_not_decode(client: httpx.Client, plan: Plan, kind: str) -> None:
    for address in of_kind(plan, kind):
        answer = client.get(address.path)
        assert len(answer.content) == int(answer.headers["content-length"])
        with pytest.raises(OSError, match="truncated"):
            Image.open(io.BytesIO(answer.content)).load()


def test_a_jpeg_with_a_hole_loads_and_only_a_strict_decoder_sees_it(client: httpx.Client, plan: Plan) -> None:
    for address in of_kind(plan, "zeroed"):
        content = client.get(address.path).content
        Image.open(io.BytesIO(content)).load()
        with pytest.raises(ValueError, match="orrupt"):
            simplejpeg.decode_jpeg(content, "GRAY", min_height=128, min_width=128, strict=True)


def test_a_reset_is_one_and_comes_in_the_middle(client: httpx.Client, plan: Plan) -> None:
    for address in of_kind(plan, "reset"):
        with client.stream("GET", address.path) as answer:
            parts = answer.iter_raw()
            assert len(next(parts)) == int(answer.headers["content-length"]) // 2
            with pytest.raises(httpx.ReadError, match="reset"):
                next(parts)


def test_wrong_lengths_are_wrong_both_ways(client: httpx.Client, plan: Plan, rehearsal: Rehearsal) -> None:
    for kind, wrong in (("overstated", lambda size: size + 1000), ("understated", lambda size: size // 2)):
        for address in of_kind(plan, kind):
            body = (rehearsal.site / address.file).read_bytes()
            head, received = raw(client, address)
            assert f"content-length: {wrong(len(body))}\r\n".encode() in head.lower() + b"\r\n"
            assert received == body


def test_an_encoding_that_nobody_asked_for_holds_a_picture_or_a_bomb(
    client: httpx.Client, plan: Plan, rehearsal: Rehearsal
) -> None:
    for kind in ("gzipped", "gzip-bomb"):
        for address in of_kind(plan, kind):
            with client.stream("GET", address.path, headers={"Accept-Encoding": "identity"}) as answer:
                assert answer.headers["content-encoding"] == "gzip"
                packed = b"".join(answer.iter_raw())
            content = gzip.decompress(packed)
            if kind == "gzipped":
                assert content == (rehearsal.site / address.file).read_bytes()
            else:
                assert len(packed) < 100_000
                assert len(content) == BOMB > 20_000_000


def test_a_small_png_declares_nine_hundred_megapixels(client: httpx.Client, plan: Plan) -> None:
    for address in of_kind(plan, "pixel-bomb"):
        content = client.get(address.path).content
        assert len(content) < 2000
        with pytest.raises(Image.DecompressionBombError, match="900000000 pixels"):
            Image.open(io.BytesIO(content))


def test_a_placeholder_is_large_and_of_one_colour(client: httpx.Client, plan: Plan) -> None:
    for address in of_kind(plan, "flat"):
        with Image.open(io.BytesIO(client.get(address.path).content)) as image:
            assert image.format == "GIF"
            assert image.size == FLAT_SIDES
            assert len(image.convert("RGB").getcolors() or ()) == 1


def test_robots_txt_names_exactly_the_disallowed_paths_and_they_would_be_served(
    client: httpx.Client, plan: Plan
) -> None:
    rules = Protego.parse(client.get("/robots.txt").text)
    refused = [address for address in plan.addresses if not rules.can_fetch(address.path, "harvestman")]
    assert refused == of_kind(plan, "disallowed")
    assert {client.get(address.path).status_code for address in refused} == {200}


def test_a_tag_forbids_training_on_exactly_the_tagged(client: httpx.Client, plan: Plan) -> None:
    for address in of_kind(plan, "tagged"):
        assert client.get(address.path).headers["x-robots-tag"] == "noai, noimageai"
    assert "x-robots-tag" not in client.get(of_kind(plan, "photo")[0].path).headers


def test_a_resumable_picture_is_cut_once_and_goes_on_where_it_is_asked_to(
    client: httpx.Client, plan: Plan, rehearsal: Rehearsal
) -> None:
    address = of_kind(plan, "resumable")[0]
    body = (rehearsal.site / address.file).read_bytes()
    if address.key.startswith("/photos/"):
        body = client.get(f"{address.key}/original.jpg").content if address.path.endswith("/small.jpg") else body
    half = len(body) // 2
    with client.stream("GET", address.path) as answer:
        tag = answer.headers["etag"]
        assert answer.headers["accept-ranges"] == "bytes"
        with pytest.raises(httpx.RemoteProtocolError):
            answer.read()
    rest = client.get(address.path, headers={"Range": f"bytes={half}-", "If-Range": tag})
    assert (rest.status_code, rest.headers["content-range"]) == (206, f"bytes {half}-{len(body) - 1}/{len(body)}")
    assert rest.content == body[half:]
    other = client.get(address.path, headers={"Range": f"bytes={half}-", "If-Range": '"another"'})
    assert (other.status_code, other.content) == (200, body)
    assert client.get(address.path).content == body
    assert client.get(address.path, headers={"Range": f"bytes={len(body)}-"}).status_code == 416


def test_a_date_to_come_back_at_is_one_or_two_seconds_ahead(client: httpx.Client, plan: Plan) -> None:
    address = of_kind(plan, "busy-dated")[0]
    before = dt.datetime.now(dt.UTC)
    first, second = client.get(address.path), client.get(address.path)
    assert (first.status_code, second.status_code) == (429, 200)
    ahead = parsedate_to_datetime(first.headers["retry-after"]) - before
    assert 0.9 < ahead.total_seconds() <= 2.5


def test_the_log_says_what_was_sent_and_which_range_was_asked_for(
    client: httpx.Client, plan: Plan, rehearsal: Rehearsal
) -> None:
    photo, cut = of_kind(plan, "photo")[1], of_kind(plan, "cut-short")[1]
    size = len(client.get(photo.path, headers={"Range": "bytes=5-"}).content)
    with pytest.raises(httpx.RemoteProtocolError):
        client.get(cut.path)
    client.get("/nowhere")  # so that the line before it is written
    lines = [json.loads(line) for line in (rehearsal.site / LOG).read_text(encoding="utf-8").splitlines()]
    last = {line["kind"]: line for line in lines}
    assert (last["photo"]["sent"], last["photo"]["range"]) == (size, "bytes=5-")
    assert last["cut-short"]["sent"] == (rehearsal.site / cut.file).stat().st_size // 2
    assert last["unknown"]["sent"] == 3


def test_html_nothing_and_a_pixel_come_under_the_names_of_pictures(client: httpx.Client, plan: Plan) -> None:
    for address in of_kind(plan, "page"):
        assert address.path.endswith(".jpg") or address.key.startswith("/photos/")
        assert client.get(address.path).content.startswith(b"<!DOCTYPE html>")
    for address in of_kind(plan, "nothing"):
        answer = client.get(address.path)
        assert (answer.status_code, answer.content) == (200, b"")
    for address in of_kind(plan, "pixel"):
        with Image.open(io.BytesIO(client.get(address.path).content)) as image:
            image.load()
            assert (image.format, image.size) == ("GIF", (1, 1))


def test_redirects_lead_to_the_picture_to_nowhere_or_to_forbidden_ground(
    client: httpx.Client, plan: Plan, rehearsal: Rehearsal
) -> None:
    for address in of_kind(plan, "redirected"):
        answer = client.get(address.path, follow_redirects=True)
        assert len(answer.history) == 2
        assert answer.content == (rehearsal.site / address.file).read_bytes()
    assert client.get(of_kind(plan, "private")[0].path).headers["location"] == "http://10.255.255.1/x.jpg"
    assert client.get(of_kind(plan, "loopback")[0].path).headers["location"] == "http://127.0.0.1:1/"
    with pytest.raises(httpx.TooManyRedirects):
        client.get(of_kind(plan, "endless")[0].path, follow_redirects=True)


def test_an_address_the_site_does_not_know_is_not_found(client: httpx.Client) -> None:
    assert client.get("/photos/1/medium.jpg").status_code == 404
    assert client.get("/nowhere").status_code == 404


def test_each_request_is_one_line_of_the_log(client: httpx.Client, plan: Plan, rehearsal: Rehearsal) -> None:
    log = rehearsal.site / LOG
    before = len(log.read_text(encoding="utf-8").splitlines())
    missing, hanging = (
        next(item for item in of_kind(plan, kind) if item.path == item.key or item.key.startswith("/photos/"))
        for kind in ("missing", "hanging")
    )
    client.get(missing.path)
    client.get("/v1/taxa", params={"q": "Attacus"})
    with pytest.raises(httpx.ReadTimeout):
        client.get(hanging.path, timeout=0.2)
    client.get("/nowhere")
    until = time.monotonic() + 5
    while len(lines := log.read_text(encoding="utf-8").splitlines()[before:]) < 4 and time.monotonic() < until:
        time.sleep(0.02)
    found = sorted((line["kind"], line["status"] or 0, line["path"]) for line in map(json.loads, lines))
    assert found == sorted(
        [
            ("missing", 404, missing.path),
            ("api", 200, "/v1/taxa"),
            ("hanging", 0, hanging.path),
            ("unknown", 404, "/nowhere"),
        ]
    )
    assert {"time", "method", "path", "query", "range", "status", "sent", "kind"} == set(json.loads(lines[0]))
