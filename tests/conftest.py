# Copyright: (c) 2026, The thinkube.chroma contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""What an ordinary run does of the tests that take long, or are many of a kind.

The others get the mark ``thorough``: ``scripts/test --thorough`` runs them as well, before a release and by whom they concern.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

TESTS = Path(__file__).parent

# What runs against each release does so against the last 0.x and the last 1.x in an ordinary run, where it has a case of one of them.
RELEASES = {"0.6.3", "1.5.9"}

# File → test → the cases of an ordinary run; without any the test is left out. An ordinary run keeps some steps of those at which something
# is killed, one fault of a store, two releases; what happens once in years is left to a thorough one.
ORDINARY: dict[str, dict[str, tuple[str, ...]]] = {
    "cluster/test_backup.py": {
        "test_a_backup_whose_pod_is_killed_is_completed_by_its_next_pod": (),
        "test_a_removal_whose_pod_is_deleted_by_force_is_completed_by_its_next_pod": (),
        "test_a_backup_goes_on_while_the_api_server_is_restarted": (),
        "test_an_object_store_that_is_away_is_waited_for": (),
        "test_bad_input_is_told_and_changes_nothing": ("a minute that is none",),
        "test_a_restoration_that_is_deleted_while_the_server_is_stopped_is_mended_by_the_next_operation": (),
        "test_in_check_mode_a_restoration_and_its_undoing_are_planned_and_nothing_is_changed": (),
        "test_of_two_backups_at_once_the_second_is_refused_by_name": (),
    },
    "cluster/test_backups_in_a_row.py": {
        "test_each_is_what_was_acknowledged_at_its_moment_and_no_write_failed": (),
    },
    "cluster/test_bad_input.py": {
        "test_bad_input_is_refused_before_any_change": (
            "no token",
            "token with a newline",
            "two replicas",
            "mistyped variable",
            "unknown StorageClass",
            "image that is not in the registry",
            "missing section of the Gateway",
        ),
        "test_a_missing_variable_is_named": ("kubeconfig",),
    },
    "cluster/test_local_cluster.py": {
        "test_one_that_was_killed_with_its_containers_starts_again_and_is_reached": (),
    },
    "cluster/test_old_releases.py": {
        "test_an_older_release_is_deployed_tested_and_removed": (),
    },
    "cluster/test_operations.py": {
        "test_an_import_in_which_a_pod_is_killed_completes_without_duplicates": ("operation",),
        "test_an_object_store_that_comes_back_is_waited_for": (),
        "test_bad_input_is_told_and_changes_nothing": ("wrong credentials of S3", "no destination"),
        "test_the_lock_of_a_job_that_is_gone_is_taken_over": (),
        "test_ctrl_c_leaves_the_operation_running_and_it_can_be_followed_again": (),
    },
    "cluster/test_recovery.py": {
        "test_a_repair_is_said_before_it_is_done_and_undone_byte_for_byte": (),
        "test_repair_and_recovery_are_proven_in_scratch": (),
        "test_a_collection_that_was_deleted_and_one_that_was_renamed_come_back": (),
        "test_a_deletion_whose_pod_is_killed_is_completed_by_the_next_one": (),
    },
    "cluster/test_release.py": {
        "test_a_collection_name_that_chroma_refuses": ("-dash", "two words"),
    },
    "integration/test_backup.py": {
        "test_a_full_backup_is_verified_and_listed": ("1.5.9",),
        "test_auto_makes_a_full_one_and_then_increments": ("s3",),
        "test_a_drill_restores_a_chain_and_touches_nothing": ("directory",),
        "test_retention_removes_what_nothing_keeps": (),
        "test_a_backup_from_a_clock_that_was_ahead": (),
        "test_one_collection_by_the_directory_and_by_the_api": ("directory",),
        "test_a_directory_that_was_put_back_by_hand_begins_a_new_chain": (),
        "test_after_a_restore_a_new_chain_begins": (),
    },
    "integration/test_backup_ended.py": {
        "test_one_that_is_told_to_end_lets_the_writers_go_and_leaves_what_the_next_one_removes": ("under-the-lock",),
        "test_a_prune_that_is_killed_between_its_changes_is_gone_on_with_by_the_next_one": (),
    },
    "integration/test_backup_faults.py": {
        "test_a_backup_that_is_damaged_each_time_is_given_up_with_attempt_object_and_reason": (),
        "test_a_backup_that_is_killed_leaves_nothing_that_the_next_one_does_not_remove": ("upload-increment",),
        "test_a_backup_to_an_object_store_that_is_killed": (),
        "test_a_damaged_backup_is_removed_and_made_again": ("increment",),
        "test_what_a_prune_had_removed_when_it_was_killed_may_be_named_by_its_next_attempt": (),
        "test_a_prune_that_is_killed_is_done_by_the_next_one": (),
    },
    "integration/test_backup_kept.py": {
        "test_what_is_not_as_it_was_is_asked_of_restic": ("stale",),
        "test_a_wrong_password_is_told_and_leaves_nothing": ("True-increment",),
        "test_after_a_restore_and_after_its_undoing_what_was_kept_counts_for_nothing": (),
    },
    "integration/test_backup_lineage.py": {
        "test_after_a_directory_has_gone_back_its_backup_holds_what_was_written_since": ("from_another_repository",),
        "test_an_undo_from_another_repository_ends_what_was_made_before_it": (),
        "test_a_copy_of_a_directory_leaves_alone_what_the_original_makes": (),
    },
    "integration/test_backup_options.py": {
        "test_the_data_playbooks": (),
        "test_bad_input_changes_nothing": (),
    },
    "integration/test_backup_playbooks.py": {
        "test_check_mode_stores_nothing_and_the_job_has_password_and_place_and_no_more_rights_than_it_needs": (
            "29_prune-s3",
            "30_restore-s3",
        ),
        "test_a_plan_is_made_by_a_job_also_in_check_mode_and_that_may_nothing": ("30_restore",),
        "test_without_the_keys_of_s3_nothing_is_made": ("21_schedule",),
        "test_without_the_password_nothing_is_restored_and_none_is_made": ("30_restore",),
        "test_a_repository_that_is_none_is_refused_and_no_secret_in_it_is_shown": ("s3://KEY:sesame-open@bucket/x",),
        "test_a_first_backup_that_failed_is_made_again": (),
        "test_a_backup_that_runs_goes_on_when_its_schedule_is_removed": (),
        "test_another_playbook_does_not_touch_the_schedule_of_backups": ("never",),
        "test_scratch_may_be_another_volume_and_each_limit_can_be_set": (),
        "test_a_retention_that_keeps_nothing_is_refused_before_anything_is_asked": (
            "0-backup_retention_days",
            "many-auto_backup_interval_hours",
        ),
        "test_every_variable_that_a_job_is_given_is_one_that_its_data_playbook_knows": (),
        "test_the_schedule_goes_where_backups_are_disabled_and_volume_and_password_stay": (),
        "test_in_check_mode_the_schedule_is_shown_and_nothing_is_stored": (),
        "test_a_pod_whose_operation_stopped_the_server_is_let_in_again_by_its_own_label": (),
    },
    "integration/test_backup_rules.py": {
        "test_where_nothing_goes_nobody_is_kept_out_of_the_repository": (),
        "test_to_look_at_backups_the_lock_of_a_pod_that_is_gone_is_no_obstacle": (),
        "test_of_an_older_schema_a_full_one_each_interval_and_nothing_between": (),
        "test_check_mode_says_whether_anything_would_change": (),
        "test_the_twin_of_a_backup_goes_and_the_backup_stays": (),
    },
    "integration/test_backup_shared.py": {
        "test_a_clock_that_was_set_back_loses_nothing_and_hides_nothing": (),
        "test_a_restore_and_its_undo_stay_within_the_directory": (),
    },
    "integration/test_backup_store.py": {
        "test_what_passes_costs_an_attempt_and_nothing_else": (),
        "test_what_does_not_pass_is_an_error_that_says_where_and_the_next_run_succeeds": ("what0-upload",),
        "test_without_rights_nothing_is_tried_twice_and_nothing_changes": (),
        "test_an_increment_passes_too": (),
    },
    "integration/test_backup_unreadable.py": {
        "test_a_newest_one_that_is_not_known_for_sure_is_not_restored": (),
        "test_nothing_is_removed_while_nobody_knows_what_is_needed": ("True",),
        "test_one_that_could_not_be_read_once_is_no_reason_for_anything": (),
    },
    "integration/test_check_collection.py": {
        "test_a_collection_that_lost_records_is_brought_back_once_under_another_name": ("missing-<lambda>",),
        "test_a_server_that_is_restarted_meanwhile_is_waited_for": (),
        "test_an_alert_that_nobody_took_is_sent_again_by_the_next_check_and_fails_none": (),
        "test_a_name_that_is_taken_is_left_alone_and_the_next_number_is_used": (),
    },
    "integration/test_check_killed.py": {
        "test_a_chroma_that_is_killed_and_started_again_during_a_recovery_gets_all_of_it": (),
        "test_a_name_that_somebody_takes_between_two_checks_is_not_written_to": (),
    },
    "integration/test_check_lasting.py": {
        "test_the_end_of_a_fault_is_told_later_where_nobody_took_it": (),
        "test_the_end_is_told_later_where_readers_were_switched": (),
        "test_a_server_that_stumbles_for_a_moment_is_not_unreadable": (),
        "test_a_collection_that_is_never_exported_is_told_of_once_it_has_been_checked_for_hours": (),
        "test_a_postgresql_that_restarts_is_waited_for_and_one_that_is_away_is_told_of": (),
    },
    "integration/test_client.py": {
        "test_more_than_one_batch_is_written_once_and_deleted": ("1.5.9",),
    },
    "integration/test_datadir.py": {
        "test_entries_of_the_log_that_nothing_else_has_seen": ("1.5.9",),
        "test_after_a_kill_the_reader_finds_what_the_next_start_returns": ("1.5.9",),
    },
    "integration/test_delta.py": {
        "test_a_delta_of_every_release_is_closed_whole_and_opens": ("1.5.9",),
    },
    "integration/test_delta_faults.py": {
        "test_killed_in_each_phase_there_is_a_whole_delta_or_none_and_the_next_run_makes_one": ("while it is downloaded",),
        "test_what_fails_once_is_removed_and_done_again": (),
        "test_what_fails_each_time_is_an_error_that_names_attempt_object_and_reason_and_nothing_is_left": ("500-unavailable",),
        "test_what_another_attempt_would_not_change_is_said_at_once": ("secret key",),
    },
    "integration/test_export.py": {
        "test_by_url_it_is_exactly_what_the_server_says": ("0.6.3-dot", "1.5.9-dot"),
    },
    "integration/test_export_faults.py": {
        "test_killed_at_any_moment_it_goes_on_where_it_was": (),
        "test_killed_while_it_replaces_a_dataset_it_leaves_a_whole_one": ("rename",),
        "test_a_failing_object_store_is_named_and_the_next_run_goes_on": ("500-unavailable",),
        "test_a_small_file_that_can_not_be_written_costs_no_dataset": ("manifest.json-500",),
        "test_of_two_exports_to_one_prefix_the_one_that_is_done_stays": (),
        "test_a_collection_that_changes_meanwhile_is_never_exported": ("add",),
        "test_a_server_that_is_restarted_meanwhile_costs_no_record": (),
        "test_parts_that_were_finished_are_not_written_again": (),
    },
    "integration/test_gateway_rotation.py": {
        "test_a_malformed_new_secret_keeps_the_old_tokens": ("bad0", "bad3"),
    },
    "integration/test_guard.py": {
        "test_a_directory_is_refused_where_its_damage_harms_a_server_and_else_accepted": ("1.5.9",),
    },
    "integration/test_import.py": {
        "test_documents_uris_and_keys_that_the_dataset_does_not_have_are_removed": ("1-0.6.3", "1-1.5.9"),
    },
    "integration/test_import_faults.py": {
        "test_killed_at_any_point_and_started_again": ("0.7",),
        "test_an_object_store_that_fails_ends_the_import_and_the_next_one_completes_it": ("reading-500",),
        "test_a_server_that_is_away_before_the_first_record_is_waited_for": ("making",),
        "test_a_part_that_is_replaced_after_it_was_proven_is_not_imported": ("True",),
    },
    "integration/test_import_refusals.py": {
        "test_lists_are_refused_by_what_cannot_hold_them": ("0.4.24",),
    },
    "integration/test_import_settings.py": {
        "test_an_index_that_is_off_stays_off_where_the_server_knows_schemas": ("1.5.9-True",),
    },
    "integration/test_increment.py": {
        "test_each_point_of_a_chain_read_without_chroma_is_what_the_server_said": (),
    },
    "integration/test_increment_faults.py": {
        "test_older_data_were_restored": ("30",),
        "test_a_collection_that_0x_deleted": (),
        "test_the_log_of_0_4": (),
        "test_a_damaged_file_is_named_and_the_points_before_it_remain": ("part",),
    },
    "integration/test_journal.py": {
        "test_a_long_history_needs_no_memory": (),
    },
    "integration/test_modules.py": {
        "test_a_playbook_does_each_step_once": ("1.5.9",),
        "test_check_mode_changes_nothing_and_tells_the_truth": ("1.5.9",),
    },
    "integration/test_operation_playbooks.py": {
        "test_findings_fail_the_validation_from_the_severity_that_was_chosen_on": ("severe-4-fails_on2", "minor-3-fails_on1"),
        "test_the_lock_is_taken_by_whatever_name_this_chroma_is_called": (
            "https://chroma.example.com-True",
            "http://chromadb-svc.staging.svc-False",
        ),
        "test_check_mode_shows_the_job_and_stores_nothing_and_no_pod_has_more_rights_than_it_needs": (
            "40_validate-arguments0",
            "80_export-arguments3",
        ),
        "test_an_address_without_one_is_taken": ("http://[fd00::1]:8000",),
        "test_a_schedule_whose_second_run_could_not_work_is_refused": ("x-true-0",),
        "test_a_place_that_is_none_is_refused_before_anything_is_asked": (
            "80_export-chroma_destination-s3://",
            "81_import-chroma_dataset-s3://bucket",
        ),
        "test_a_secret_in_an_address_reaches_no_job_and_no_line": ("80_export-chroma_destination-s3://KEY:sesame/open@bucket/x",),
    },
    "integration/test_postgres.py": {
        "test_by_api_it_is_the_same_as_from_the_directory": ("vector",),
        "test_real_lists_can_be_asked_for_where_pgvector_is": (),
        "test_release_14_without_pgvector_holds_the_same": (),
    },
    "integration/test_postgres_generations.py": {
        "test_lost_vectors_never_replace_a_good_generation_and_others_are_exported": ("path",),
        "test_a_collection_that_goes_bit_by_bit_keeps_its_good_generation": (),
    },
    "integration/test_postgres_import.py": {
        "test_what_was_written_since_is_not_overwritten_unless_that_is_wanted": ("1.5.9-books",),
    },
    "integration/test_postgres_refusals.py": {
        "test_release_13_is_refused": (),
    },
    "integration/test_recover_sources.py": {
        "test_lost_vectors_come_from_the_backup_and_the_newer_ones_are_counted_as_lost": ("the_vectors_are_gone",),
        "test_a_folder_with_the_same_ids_is_not_taken_for_the_one_that_sqlite_names": ("True",),
        "test_a_vector_that_the_backup_has_under_its_id_is_not_recovered_a_second_time_under_a_label": (),
    },
    "integration/test_recovery_playbooks.py": {
        "test_a_job_has_no_more_rights_and_secrets_than_it_needs_and_only_variables_that_its_playbook_knows": (
            "42_recover",
            "43_export_postgres",
            "43_export_postgres -e chroma_url=https://elsewhere.example.com",
            "45_check_collection",
        ),
        "test_bad_input_is_told_before_anything_is_asked": ("an interval that no schedule can have", "no new name"),
        "test_the_checks_are_scheduled_and_made_at_once_the_first_time_only": (),
        "test_what_fails_at_once_keeps_no_schedule_from_being_there": (),
    },
    "integration/test_repair.py": {
        "test_what_stops_an_upgraded_server_is_mended_for_whoever_asks": (),
    },
    "integration/test_repair_killed.py": {
        "test_a_repair_that_is_killed": ("execute-8", "rename-3", "write-1_0"),
        "test_an_undo_that_is_killed": ("write-2", "rename-3"),
        "test_a_purge_that_is_killed": ("remove_tree",),
    },
    "integration/test_repair_quarantine.py": {
        "test_each_operation_says_what_can_not_be_brought_to_its_end": ("backup",),
    },
    "integration/test_repair_served.py": {
        "test_an_undo_that_is_told_to_end_after_its_change_is_completed": ("True",),
        "test_a_folder_that_changed_after_a_kill_stays_where_it_is": ("True",),
        "test_a_validation_that_could_not_look_proves_nothing": ("True",),
        "test_what_can_never_be_brought_to_its_end_keeps_nobody_from_work": ("destroyed-repair",),
        "test_a_full_volume_is_named_and_leaves_nothing_behind": (
            "ansible_collections.thinkube.chroma.plugins.module_utils._repair.act-make_place",
        ),
    },
    "integration/test_repository_damage.py": {
        "test_a_pack_that_was_cut_off_is_damaged_and_one_that_is_absent_leaves_the_index": ("50",),
    },
    "integration/test_repository_store.py": {
        "test_an_upload_that_fails_is_named_soon_and_the_next_one_succeeds": ("cut-unavailable",),
        "test_a_store_that_fails_from_the_beginning_is_named_and_nothing_is_made": ("500-unavailable",),
        "test_another_that_was_faster_is_no_error": (),
    },
    "integration/test_restore.py": {
        "test_a_damaged_directory_is_restored_over_and_its_bytes_are_kept": ("index",),
        "test_a_backup_of_an_older_chroma_comes_back_as_that_one_wrote_it": ("0.4.24",),
        "test_a_restore_into_an_empty_directory_is_not_undone_by_what_an_earlier_one_replaced": (),
        "test_as_of_a_time_means_the_one_before_it_and_says_so": (),
        "test_what_is_written_all_the_while_is_restored_over_and_nobody_says_what_is_lost": (),
        "test_owner_and_modes_are_what_the_server_needs": (),
        "test_a_wal_of_sqlite_is_no_obstacle": (),
        "test_floats_that_chroma_reads_inexactly_are_counted_and_told": (),
        "test_what_is_not_chromas_keeps_its_place": (),
        "test_a_plan_needs_no_right_to_write_beside_a_server": (),
        "test_a_journal_of_it_is_kept": (),
        "test_the_newest_one_is_restored_with_its_increment": (),
    },
    "integration/test_restore_cluster.py": {
        "test_killed_in_any_phase_the_next_attempt_leaves_a_running_server_with_the_backup": ("_restore.swap.os.rename-3",),
        "test_the_next_backup_starts_the_server_too": (),
        "test_a_server_that_somebody_starts_on_half_a_directory_is_stopped_and_its_files_are_set_aside": (),
        "test_a_server_that_does_not_start_is_told_and_the_next_run_goes_on": (),
        "test_one_collection_starts_the_server_that_a_dead_operation_stopped_and_is_in_the_journal": (),
    },
    "integration/test_restore_collection.py": {
        "test_under_a_new_name_beside_the_old_one": ("base and increment",),
        "test_one_that_was_killed_leaves_nothing_under_the_name_and_the_next_run_completes_it": ("_restore.collection._bring_in",),
    },
    "integration/test_restore_killed.py": {
        "test_a_restore_that_is_killed": ("_restore.swap.os.rename-5",),
        "test_an_undo_that_is_killed": ("_restore.swap.os.rename-3",),
        "test_two_restores_at_once_do_not_meet": (),
    },
    "integration/test_restore_left.py": {
        "test_a_job_is_done_for_its_own_backup_only": (),
        "test_a_restore_point_that_does_not_come_back_as_it_was_is_told_once_and_what_it_was_made_of_is_kept": (),
        "test_half_of_what_was_being_removed_is_in_nobodys_way": (),
        "test_who_asks_for_an_undo_twice_gets_it_twice_and_an_attempt_of_a_job_once": (),
        "test_an_undo_that_died_after_its_swap_is_asked_for_again_and_not_undone": (),
        "test_from_another_repository_it_restores_and_says_where_the_old_data_are": (),
        "test_a_restore_point_is_read_back_where_the_volume_has_no_room_for_it": (),
        "test_a_removal_concludes_it_and_says_where_that_fails": (),
        "test_what_was_written_since_an_interrupted_restore_is_not_taken_for_the_backup": (),
        "test_a_backup_concludes_it": (),
    },
    "integration/test_restore_points.py": {
        "test_each_point_is_what_the_server_said_at_its_moment": (),
        "test_as_of_the_moment_of_an_increment_means_that_one": (),
        "test_a_damaged_increment_is_named_and_the_points_before_it_still_restore": (),
    },
    "integration/test_restore_store.py": {
        "test_what_fails_before_the_swap_touches_nothing_and_the_next_run_succeeds": (),
        "test_a_store_that_goes_away_with_the_swap_leaves_the_backup_served_and_the_old_data_kept": (),
    },
    "integration/test_round_trip.py": {
        "test_a_round_trip_is_exact": ("0.6.3-1.5.9-directory", "1.5.9-0.6.3-server", "1.5.9-1.5.9-directory"),
    },
    "integration/test_snapshot.py": {
        "test_each_hot_copy_is_what_was_acknowledged_at_its_moment": ("1.5.9",),
    },
    "integration/test_snapshot_faults.py": {
        "test_a_killed_copy_leaves_no_lock_and_the_next_removes_what_it_left": ("while_it_copies",),
        "test_a_pause_that_is_always_too_long_leaves_nothing": (),
    },
    "integration/test_transaction_playbooks.py": {
        "test_the_data_playbooks_rename_delete_and_undo": (),
    },
    "integration/test_transactions.py": {
        "test_the_next_attempt_of_a_job_does_not_go_further_back": (),
        "test_a_restore_point_is_kept_as_long_as_retention_says": (),
        "test_an_empty_collection_with_a_repository_can_be_undone_too": (),
        "test_without_the_directory_the_journal_is_elsewhere": (),
        "test_a_rename_within_another_operation_can_be_undone": (),
    },
    "integration/test_transactions_failed.py": {
        "test_a_deletion_that_fails_is_rolled_back": ("POST-/delete-1",),
        "test_a_half_deleted_collection_that_somebody_renamed_is_made_whole": (),
        "test_a_deletion_that_was_interrupted_before_the_directory_was_restored_is_not_gone_on_with": (),
        "test_records_that_come_into_an_empty_collection_are_not_deleted": (),
    },
    "integration/test_transactions_killed.py": {
        "test_a_deletion_that_is_killed": ("14", "28"),
        "test_a_renaming_that_is_killed": ("22",),
        "test_the_undo_of_a_deletion_that_is_killed": ("22",),
        "test_the_undo_of_a_renaming_that_is_killed": ("12",),
        "test_the_same_undo_asked_for_again_is_the_one_that_was_killed_and_no_older_one": (),
        "test_a_name_that_was_taken_before_a_killed_undo_goes_on_is_left_to_who_has_it": (),
        "test_what_is_open_is_not_finished_on_another_server": (),
        "test_an_undo_is_not_asked_of_another_server": (),
        "test_a_collection_of_others_with_the_same_name_and_size_is_not_taken_for_the_one_that_comes_back": (),
        "test_a_renaming_whose_collection_is_gone_keeps_nobody_from_working": (),
        "test_what_needs_the_repository_waits_for_a_run_that_has_it": (),
    },
    "integration/test_validate.py": {
        "test_nothing_is_found_in_healthy_directories": ("1.5.9",),
        "test_a_save_that_was_killed_is_found": ("1.5.9",),
    },
    "integration/test_verify.py": {
        "test_a_chroma_that_fails_is_started_once_more": ("500-server_error-2", "cut-unreachable-1"),
    },
}


def releases_of(case: str) -> set[str]:
    """Return the releases that are named in a test's case."""
    return set(re.findall(r"(?<![^-])\d+\.\d+\.\d+(?![^-])", case))


@pytest.hookimpl(tryfirst=True)  # before -m chooses
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what an ordinary run leaves out."""
    cases: dict[tuple[str, str], dict[str, pytest.Item]] = {}
    for item in items:
        name, _bracket, case = item.name.removesuffix("]").partition("[")
        cases.setdefault((item.path.relative_to(TESTS).as_posix(), name), {})[case] = item
    for (file, name), items_of in cases.items():
        ordinary = ORDINARY.get(file, {}).get(name)
        if ordinary is None:
            usual = {case for case in items_of if releases_of(case) <= RELEASES}
            ordinary = usual if file.startswith("integration/") and any(releases_of(case) for case in usual) else items_of
        # Of a test that was asked for by its whole name there is only one case.
        elif len(items_of) > 1 and (unknown := set(ordinary) - set(items_of)):
            raise pytest.UsageError(f"tests/conftest.py: {file}::{name} has no case {sorted(unknown)}")
        for case, item in items_of.items():
            if case not in ordinary:
                item.add_marker(pytest.mark.thorough)
