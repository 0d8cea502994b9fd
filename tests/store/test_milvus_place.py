import pytest

from glocal.errors import ConfigError
from glocal.store.milvus_place import MilvusPlace, is_milvus_url, parse_milvus_url
from glocal.store.open import place_of


def test_a_url_has_a_host_a_port_and_a_name():
    place = parse_milvus_url("milvus://db.example.org:19531/Catalogue_2")
    assert (place.host, place.port, place.name) == ("db.example.org", 19531, "Catalogue_2")
    assert (place.tls, place.token, place.index_type, place.consistency) == (False, "", "HNSW", "strong")
    assert str(place) == "milvus://db.example.org:19531/Catalogue_2"


def test_the_port_is_that_of_milvus_if_none_is_given():
    assert parse_milvus_url("milvus://localhost/x").port == 19530


def test_options_and_tls_are_read():
    place = parse_milvus_url("milvus+tls://h/x?index=IVF_SQ8&consistency=bounded&shards=4&replicas=2")
    assert place.tls
    assert (place.shards, place.replicas) == (4, 2)
    assert (place.index_type, place.consistency) == ("IVF_SQ8", "bounded")


def test_a_secret_is_read_and_never_shown():
    place = parse_milvus_url("milvus://me:p%40ss@h:1/x")
    assert place.token == "me:p@ss"
    assert "p@ss" not in f"{place} {place!r}"
    assert parse_milvus_url("milvus://key123@h/x").token == "key123"


def test_a_secret_from_elsewhere_goes_before_that_of_the_url():
    assert parse_milvus_url("milvus://me:old@h/x").with_token("new").token == "new"
    assert parse_milvus_url("milvus://me:old@h/x").with_token("").token == "me:old"


@pytest.mark.parametrize(
    "url",
    [
        "milvus://h/",
        "milvus://h",
        "milvus://h/a/b",
        "milvus://h/a-b",
        "milvus://h/1a",
        "milvus://h/ä",
        "milvus://h/a%20b",
        'milvus://h/a"b',
        "milvus://h/" + "a" * 201,
        "milvus:///x",
        "milvus://-h/x",
        "milvus://[::1]/x",
        "milvus://h:99999/x",
        "milvus://h:port/x",
        "milvus://h/x?index=DISKANN",
        "milvus://h/x?index=flat",
        "milvus://h/x?colour=red",
        "milvus://h/x?shards=0",
        "milvus://h/x?shards=65",
        "milvus://h/x?replicas=two",
        "milvus://h/x?consistency=",
        "milvus://h/x#fragment",
        "milvus://h\n/x",
        "http://h/x",
        "milvus",
    ],
)
def test_what_makes_no_sense_is_refused(url):
    with pytest.raises(ConfigError):
        parse_milvus_url(url)


@pytest.mark.parametrize(
    "url", ["milvus://me:secret@h/bad-name", "milvus://me:secret@h:99999/x", "milvus://me:secret@/x"]
)
def test_a_refusal_does_not_repeat_the_secret(url):
    with pytest.raises(ConfigError) as refusal:
        parse_milvus_url(url)
    assert "secret" not in str(refusal.value)


def test_only_a_url_of_milvus_is_one(tmp_path):
    assert is_milvus_url("milvus://h/x")
    assert is_milvus_url("MILVUS+TLS://h/x")
    assert not is_milvus_url("milvus/photos")
    assert place_of("milvus/photos") == place_of("milvus/photos").__class__("milvus/photos")
    assert place_of(tmp_path) == tmp_path
    assert place_of("milvus://h/x", "key") == MilvusPlace("h", 19530, "x", token="key")
