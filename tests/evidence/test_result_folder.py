import json

import pytest

from assay.errors import InputError
from assay.evidence.result_folder import check_place, check_results


def test_nothing_that_is_read_is_written_over(tmp_path):
    read = tmp_path / "issues.csv"
    check_place(tmp_path, ("report.html",), read, None)
    check_place(tmp_path / "new" / "deep", ("issues.csv",), read)
    with pytest.raises(InputError, match="written over"):
        check_place(tmp_path, ("issues.csv",), None, read)


def test_a_file_is_no_folder_and_none_can_lie_in_it(tmp_path):
    (tmp_path / "file").write_text("")
    for folder in (tmp_path / "file", tmp_path / "file" / "in"):
        with pytest.raises(InputError, match="is a file"):
            check_place(folder)


@pytest.mark.parametrize("told", ["", "[]", "{}", '{"provenance": []}', '{"provenance": {"verb": "audit"}}'])
def test_results_of_another_verb_or_of_nobody_knows_what_are_kept(tmp_path, told):
    (tmp_path / "report.json").write_text(told)
    with pytest.raises(InputError, match="other results"):
        check_results(tmp_path, "learn")


def test_own_results_are_made_again_for_the_same_file_alone(tmp_path):
    check_results(tmp_path, "critic", "a.csv")
    (tmp_path / "ledger.db").write_text("")
    check_results(tmp_path, "critic")
    with pytest.raises(InputError, match="other results"):
        check_results(tmp_path, "critic", "a.csv")  # a ledger, and nothing says whose
    (tmp_path / "report.json").write_text(json.dumps({"provenance": {"verb": "critic", "source": "a.csv"}}))
    check_results(tmp_path, "critic", "a.csv")
    with pytest.raises(InputError, match="other results"):
        check_results(tmp_path, "critic", "b.csv")
