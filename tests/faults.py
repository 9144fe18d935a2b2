"""Faults that were once there, and the tests that would find each again; pytest knows these tests as ``fault``.

    python -m tests.faults --runs 20
    python -m tests.faults --runs 5 --long

This runs them so many times in a row, each time in a process of its own; ``--long``: those through browsers, processes
and PostgreSQL.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

FAULTS: dict[str, tuple[str, ...]] = {
    "who wrote the Host himself was let in": (
        "study/admission/test_access.py::test_where_a_password_or_addresses_are_set_nobody_is_local",
        "study/admission/test_access.py::test_what_a_proxy_passed_on_is_not_local",
        "study/admission/test_access.py::test_a_connection_from_elsewhere_is_not_local_whatever_its_headers_say",
        "app/test_study_page.py::test_a_page_that_asks_for_a_login_asks_the_servers_own_machine_too",
    ),
    "an id alone gave code, participation and deletion": (
        "study/running/test_flow.py::test_an_id_alone_gives_nothing_once_somebody_has_agreed",
        "study/running/test_flow.py::test_deleting_ones_data_is_no_fresh_start_for_who_failed_a_check",
        "app/test_survey.py::test_an_id_in_another_browser_gives_neither_code_nor_page_but_its_return_code_does",
        "app/test_survey.py::test_a_typed_id_that_is_taken_asks_for_its_return_code",
    ),
    "a foreign page framed the experimenter's": (
        "ui/common/test_headers.py::test_every_answer_has_them_whatever_made_it",
        "app/test_doors_browser.py::test_no_foreign_page_can_frame_any_page",
        "app/test_doors_browser.py::test_a_page_asks_nothing_of_other_origins",
    ),
    "a clock that steps back lost answers": (
        "study/running/test_flow.py::test_an_answer_is_taken_although_the_clock_was_set",
        "study/running/test_flow.py::test_the_stores_own_clock_does_not_step",
    ),
    "one client kept all others waiting": (
        "jobs/test_fairness.py::test_36_requests_of_one_tab_do_not_keep_another_waiting",
        "jobs/test_fairness.py::test_jobs_of_a_closed_tab_end_and_those_of_a_reload_go_on",
        "jobs/test_fairness.py::test_a_job_that_ignores_its_deadline_is_killed",
        "jobs/test_fairness.py::test_a_job_has_a_memory_limit",
    ),
    "a server for a study showed everything": (
        "test_roles.py::test_a_server_for_a_study_shows_nothing_else_whatever_the_link",
        "test_roles.py::test_a_server_for_a_study_has_the_survey_and_no_job_service",
        "test_roles.py::test_a_demo_offers_no_field_for_a_file_and_refuses_one_that_comes",
    ),
    "people who came at once were turned away": (
        "study/running/test_flow.py::test_people_who_consent_at_once_wait_for_each_other_and_nobody_is_turned_away",
    ),
    "anybody filled the memory with files or the server with tabs": (
        "ui/common/test_uploads.py::test_a_tab_whose_page_asks_for_no_file_may_send_none",
        "ui/common/test_uploads.py::test_a_tab_and_all_of_them_hold_so_much_together",
        "ui/common/test_doors.py::test_beyond_the_room_a_sentence_comes_instead_of_a_page",
    ),
    "who left in the middle of a script broke it for all who came after": (
        "ui/common/test_assets.py::test_what_is_no_longer_the_file_has_none_of_its_marks_and_comes_whole",
        "app/test_doors_browser.py::test_who_leaves_in_the_middle_of_a_script_breaks_it_for_nobody",
    ),
    "one frame stopped the server for all, stayed in its memory, or wrote lines into its log": (
        "ui/common/test_doors.py::test_what_no_page_of_ours_sends_is_no_frame",
        "ui/participant/test_route.py::test_a_line_that_breaks_in_the_middle_of_an_answer_is_no_error",
        "ui/common/test_uploads.py::test_a_file_without_a_byte_counts_too",
    ),
    "a database that was gone showed tracebacks and paths": (
        "app/test_survey.py::test_a_database_that_is_gone_is_one_sentence_and_the_page_goes_on_once_it_is_back",
        "app/test_survey.py::test_an_answer_that_meets_no_database_stays_with_the_browser",
        "ui/participant/test_route.py::test_a_database_that_is_gone_says_so_and_nothing_of_where_it_lies",
    ),
    "one client filled a quota, locked all others out, or wrote into pages": (
        "app/test_survey.py::test_one_network_brings_so_many_new_people_a_minute_and_those_who_return_are_none",
        "study/admission/test_access.py::test_one_client_shuts_nobody_else_out_and_many_are_slowed_together",
        "ui/common/test_text.py::test_a_link_puts_no_markdown_into_a_page",
    ),
    "hostile inputs raised what is no sentence": (
        "test_fuzz.py::test_hostile_inputs_raise_nothing_but_sentences",
        "test_fuzz.py::test_a_number_in_a_link_is_one_of_plain_digits",
        "test_fuzz.py::test_yaml_that_its_reader_stumbles_over_is_one_sentence",
        "test_fuzz.py::test_a_signature_that_is_no_text_is_no_signature",
        "study/stimuli/test_stimulus_set.py::test_a_broken_manifest_is_refused_with_its_fault",
        "inspection/test_survivors.py::test_damaged_and_foreign_trace_files_get_a_sentence",
        "ui/common/test_doors.py::test_what_is_no_frame_closes_the_connection_and_raises_nothing",
        "ui/common/test_doors.py::test_nobody_empties_the_caches_of_all_or_asks_for_the_repository",
        "ui/common/test_doors.py::test_values_under_no_widgets_name_are_left_out",
    ),
    "formulas in cells, open folders, public figures, an empty file as a database, no pins": (
        "study/export/test_reading.py::test_no_part_of_a_cell_is_a_formula",
        "study/data/test_store.py::test_only_the_owner_may_read_the_file_and_its_log",
        "ui/common/test_doors.py::test_figures_are_for_the_servers_own_computer",
        "study/data/test_store.py::test_an_empty_file_is_no_database_and_says_what_to_do",
        "test_lock.py::test_every_requirement_has_a_pin_within_its_range",
    ),
    "an open study was unblinded without a word": (
        "study/analysis/test_unblinding.py::test_an_open_study_is_unblinded_for_a_reason_only",
        "study/analysis/test_unblinding.py::"
        "test_a_look_for_a_reason_makes_all_exploratory_for_good_and_says_so_everywhere",
    ),
    "practice was repeated and ended without a word": (
        "app/test_survey.py::test_practice_says_why_it_is_repeated_and_when_it_is_over_and_feedback_outlives_the_tab",
    ),
    "nobody could stop": (
        "app/test_survey.py::test_stop_is_on_every_page_and_keeps_or_deletes_the_answers",
        "app/test_survey.py::test_the_consent_gives_both_codes_and_a_copy_and_either_serves_at_once",
    ),
    "unfinished people were in the estimate and no text said so": (
        "study/analysis/test_attrition.py::test_the_design_says_whether_unfinished_people_are_analysed",
        "study/analysis/test_attrition.py::test_every_text_says_the_rule_and_its_reason",
    ),
    "faults of a design were told in a library's words, and its form folded up over what was pasted": (
        "study/design/test_design.py::test_a_fault_of_a_design_names_field_nearest_one_and_line",
        "app/test_study_page.py::test_pasted_work_stays_in_sight_when_the_first_study_is_there",
        "app/test_survey_browser.py::test_the_question_of_confidence_comes_into_view_in_a_low_window",
    ),
    "one sentence served three cases": (
        "app/test_survey.py::test_each_case_of_a_token_that_finds_nobody_has_its_own_sentence",
    ),
    "tables were read with wrong types": (
        "study/export/test_reading.py::test_whole_numbers_are_whole_missing_is_empty_and_there_is_no_mark",
        "study/export/test_reading.py::test_read_py_gives_every_table_its_types",
    ),
}
TESTS = frozenset(name for tests in FAULTS.values() for name in tests)
FOLDER = Path(__file__).parent


def main() -> int:
    """Run the tests again and again, until one fails."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--runs", type=int, default=20, metavar="N", help="in a row (default: %(default)s)")
    parser.add_argument("--long", action="store_true", help="those that pytest leaves out")
    options = parser.parse_args()
    names = [str(FOLDER / name) for name in sorted(TESTS)]
    words = [sys.executable, "-m", "pytest", "-n", "0", "-m", "long" if options.long else "not long", *names]
    for run in range(1, options.runs + 1):
        failed = subprocess.run(words, cwd=FOLDER.parent, check=False).returncode
        sys.stdout.write(f"run {run} of {options.runs}: {'failed' if failed else 'passed'}\n")
        sys.stdout.flush()
        if failed:
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
