import pickle
from dataclasses import asdict

import pytest

from search.final_test import FinalTest
from search.measurement import Measurement, error_of_mean, with_precision

MEASURED = Measurement(3.5, 0.25, 100, 6, 1.0, ((50, 4.0),), metric="kid")


def test_json_gives_it_back() -> None:
    assert Measurement.from_json(asdict(MEASURED)) == MEASURED
    assert pickle.loads(pickle.dumps(MEASURED)) == MEASURED


def test_reads_what_was_written_when_fid_was_the_only_metric() -> None:
    told = {"fid": 3.5, "fid_se": 0.25, "images": 100, "forward_passes": 6, "seconds": 1.0}
    found = Measurement.from_json(told | {"fid_at": [[50, 4.0]], "spread": None})
    assert found == Measurement(3.5, 0.25, 100, 6, 1.0, ((50, 4.0),), metric="fid")


def test_a_former_name_is_answered_with_the_present_one() -> None:
    with pytest.raises(TypeError, match=r"Measurement\(fid_se=...\) is now standard_error=..."):
        Measurement(3.5, fid_se=0.25, images=100, forward_passes=6, seconds=1.0)  # type: ignore[call-arg]


def test_a_protocol_from_before_precisions_has_that_of_its_tokens() -> None:
    generated = {"metric": "fid", "features_hash": "sha256:1"}
    usual = "pixels default; features default"
    for settings, tokens in (({}, "float32"), ({"precision": "bfloat16"}, "bfloat16")):
        found = with_precision(generated, settings)
        assert found == generated | {"precision": f"tokens {tokens}; {usual}"}
        assert with_precision(found, {}) == found
    assert with_precision({"features_hash": None}, {"precision": "tf32"})["precision"] is None


def test_equal_values_have_no_error() -> None:
    assert 85.4365448636063576 - sum([85.4365448636063576] * 7) / 7 != 0
    assert error_of_mean([85.4365448636063576] * 7) == 0
    assert FinalTest.of(dict.fromkeys(range(7), 85.4365448636063576), 9, 4).standard_error == 0
    assert error_of_mean([1.0, 3.0]) == pytest.approx(1.0)
    assert error_of_mean([1.0]) is None
