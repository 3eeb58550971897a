//! The list of checks, and of what second processes do for them.

/// Calls a macro with every check, by the module that it stands in.
#[doc(hidden)]
#[macro_export]
macro_rules! __each_check {
    ($callback:ident $($rest:tt)*) => {
        $crate::$callback! {
            { $($rest)* }
            access {
                aligned_words_of_up_to_eight_bytes_never_tear,
                a_copy_sees_old_or_new_bytes_and_nothing_else,
                access_out_of_bounds_is_refused_and_copies_nothing,
                typed_access_out_of_bounds_is_refused,
                access_of_no_bytes_at_the_end_is_fine,
                a_struct_is_viewed_in_place_by_every_mapping,
                a_slice_of_atomics_is_the_bytes_that_copies_see,
                a_misaligned_reference_is_refused,
                a_read_only_region_lends_nothing_that_can_store,
                loads_work_on_read_only_regions_in_every_ordering_of_a_load,
                plain_values_are_copied_at_any_alignment,
            }
            faults {
                a_failing_call_of_create_new_leaves_nothing,
                a_failing_call_of_create_with_leaves_nothing_and_init_runs_once_at_most,
                a_failing_call_of_the_portable_creation_leaves_nothing,
                a_failing_call_of_create_unnamed_leaves_nothing,
                a_failing_call_of_open_or_create_leaves_nothing,
                a_failing_call_of_open_leaves_the_region_as_it_was,
                a_failing_call_of_exists_never_lies,
                a_failing_call_of_try_clone_leaves_the_region_as_it_was,
                a_failing_call_of_grow_leaves_the_region_as_it_was,
                a_failing_call_of_refresh_leaves_the_mapping_as_it_was,
                a_failing_call_of_metadata_leaves_the_region_as_it_was,
                a_failing_call_of_a_change_by_identity_leaves_the_region_as_it_was,
                a_failing_call_of_remove_removes_the_region_or_leaves_it_as_it_was,
                a_failing_call_of_list_is_an_error_and_never_a_shorter_list,
                a_failing_call_of_probe_leaves_nothing,
                a_failing_call_of_capabilities_promises_nothing_more,
            }
            huge {
                huge_pages_that_are_required_are_had_or_refused,
                more_huge_pages_than_there_are_is_no_space,
                another_user_needs_leave_for_explicit_huge_pages,
                an_unnamed_region_of_huge_pages_is_had_or_refused,
                trying_for_huge_pages_is_never_the_reason_for_an_error,
                a_store_that_gives_huge_pages_on_advice_gives_them_to_who_tries,
                who_tries_for_huge_pages_hears_of_a_full_store_all_the_same,
            }
            leaks {
                no_error_leaks_anything,
            }
            open_or_create {
                open_or_create_says_whether_it_created,
                open_or_create_refuses_what_is_smaller_than_asked,
                open_or_create_opens_what_another_user_made_for_all,
                of_racing_creators_exactly_one_creates_each_object_and_no_write_is_lost,
                racing_creators_keep_their_writes_though_each_of_them_removes,
                open_or_create_never_fails_though_another_removes_all_the_time,
                racing_creators_meet_in_a_store_that_holds_one_such_object_and_not_two,
                a_lack_of_space_that_passes_is_waited_for_and_one_that_stays_is_told,
            }
            publish {
                racing_openers_never_see_a_region_that_is_not_complete,
                what_gets_no_size_is_not_ready_after_a_second_or_the_timeout,
                what_gets_its_size_later_is_ready_then,
                init_gets_the_region_itself_full_of_zeros,
                init_runs_before_the_name_is_visible_where_the_backend_promises_it,
                an_init_that_fails_or_panics_leaves_nothing,
                an_identity_is_created_with_its_content_in_its_own_backend_only,
                a_name_that_is_taken_while_init_runs_stays_with_who_took_it,
                a_publication_that_fails_after_init_is_an_error_and_no_second_try,
                all_that_holds_of_creation_holds_where_objects_cannot_be_published_whole,
                every_way_to_create_goes_on_where_a_nameless_file_or_its_link_is_refused,
                where_no_way_to_create_is_left_the_error_is_the_last_ones,
                a_lack_of_space_or_descriptors_is_told_and_never_a_reason_for_another_way,
                what_a_store_refused_is_not_held_against_another_in_its_place,
                what_a_killed_process_or_a_neighbour_left_is_no_obstacle,
            }
            sharing {
                bytes_cross_to_another_process_and_back_exactly,
                fills_reach_exactly_their_range,
                threads_and_processes_lose_no_update_of_an_atomic,
                a_forked_child_and_its_parent_lose_no_update_of_an_atomic,
                regions_move_between_threads,
                the_same_program_runs_on_a_backend_chosen_by_type,
                the_same_program_runs_on_a_backend_chosen_at_run_time_or_by_feature,
            }
            crash {
                create_new_killed_at_any_call_leaves_nothing_or_a_complete_region,
                open_or_create_killed_at_any_call_leaves_nothing_or_a_complete_region,
                create_with_killed_at_any_call_leaves_nothing_half_done_where_init_is_atomic,
                the_portable_creation_killed_at_any_call_leaves_at_worst_an_unready_name,
                create_unnamed_killed_at_any_call_leaves_at_worst_a_removable_region_of_zeros,
                create_unique_killed_at_any_call_leaves_nothing_or_a_complete_region,
                grow_killed_at_any_call_leaves_the_old_size_or_the_new_and_no_lock,
                remove_killed_at_any_call_leaves_the_whole_region_or_nothing,
                a_region_stays_when_all_its_users_are_killed,
                an_unnamed_region_goes_when_its_last_user_is_killed,
            }
            create {
                create_new_twice_fails_with_already_exists,
                a_taken_name_is_told_before_a_lack_of_space,
                a_taken_name_is_told_before_memory_is_taken,
                a_taken_name_is_told_to_those_who_may_not_open_it,
                a_name_taken_by_something_foreign_is_already_exists,
                a_size_of_zero_or_over_isize_max_is_invalid_and_leaves_nothing,
                a_new_region_reads_as_zeros,
                a_new_region_reads_as_zeros_after_a_failed_create,
                the_length_is_exactly_what_was_asked,
                safe_access_never_reaches_the_tail_of_the_last_page,
                the_asked_mode_is_the_resulting_mode_whatever_the_umask,
                a_mode_that_keeps_its_creator_out_or_is_none_is_refused,
                a_failed_creation_leaves_nothing,
            }
            divergence {
                a_region_can_do_what_its_backend_can,
                two_names_with_one_key_are_one_object_unless_names_are_exact,
                attachments_are_counted_or_unknown,
                growing_works_or_is_unsupported_and_changes_nothing,
                refreshing_is_truthfully_fine_everywhere,
                init_runs_before_anybody_can_open_the_region_where_it_is_atomic,
                init_is_not_atomic_where_no_file_can_be_made_without_a_name,
                the_portable_creation_needs_no_room_for_two,
                a_clone_can_or_cannot_be_made_after_removal,
                a_fixed_address_is_used_or_unsupported,
                a_descriptor_is_lent_or_unsupported,
                regions_belong_to_one_kind_of_namespace,
            }
            causes {
                a_denial_names_owner_and_mode_of_what_refuses,
                a_store_that_refuses_is_named_with_its_mode,
                a_lock_of_somebody_is_busy_and_no_limit,
                a_quota_on_the_store_is_no_space_and_named,
                a_quota_that_a_call_hits_is_no_space_and_named,
                no_message_advises_what_parts_those_who_share,
            }
            errors {
                the_same_cause_is_told_alike_by_every_implementation,
                an_identity_of_another_backend_is_told_alike_by_every_implementation,
                what_is_no_shared_memory_is_told_alike_by_every_call,
                a_lack_of_permission_is_told_alike_by_every_implementation,
                a_full_store_is_told_alike_by_every_implementation,
                an_error_becomes_an_io_error_that_keeps_it,
                every_kind_of_error_has_the_io_kind_of_the_table,
                no_caller_sees_a_signal,
                a_sandbox_is_told_apart_from_a_missing_name,
            }
            grow {
                grow_is_unsupported_where_the_capability_is_missing,
                grow_keeps_old_bytes_and_adds_zeros_that_are_reserved,
                new_memory_is_reserved_before_anybody_touches_it,
                grow_never_shrinks,
                grow_to_a_size_that_no_region_has_is_invalid,
                grow_of_a_read_only_region_is_read_only,
                unnamed_removed_and_cloned_regions_grow_too,
                what_was_stored_past_the_end_does_not_show_up,
                who_moves_no_size_clears_nothing,
                a_full_store_is_no_space_and_leaves_object_and_mapping_as_before,
                a_limit_that_growing_hits_leaves_object_and_mapping_as_before,
                who_may_not_read_the_object_any_more_may_not_grow_it,
                a_peer_sees_growth_after_a_refresh_and_not_before,
                a_refresh_without_growth_changes_nothing,
            }
            growers {
                two_handles_racing_to_grow_lose_nothing,
                two_clones_racing_to_grow_lose_nothing,
                a_forked_child_and_its_parent_racing_to_grow_lose_nothing,
                two_processes_racing_to_grow_lose_nothing,
                a_reader_that_keeps_the_lock_makes_growing_busy_and_nothing_changes,
                a_shared_lock_on_ones_own_descriptor_keeps_growers_out_too,
            }
            holders {
                holders_are_told_with_their_mappings_and_descriptors,
                a_descriptor_without_a_mapping_and_a_mapping_without_a_descriptor_are_told,
                the_holders_of_many_regions_are_found_at_once_in_their_order,
                who_may_not_look_everywhere_is_told_that_there_may_be_more,
                what_is_listed_is_removed_by_its_id_if_unused,
                what_the_name_comes_to_mean_meanwhile_is_not_removed,
            }
            hostile {
                a_planted_entry_is_not_shared_memory,
                what_another_user_planted_is_not_shared_memory,
                a_place_without_the_facility_is_backend_unavailable,
                a_read_only_store_is_backend_unavailable_for_changes,
                unusual_places_are_as_good_as_others,
                probe_leaves_nothing_behind,
                probe_works_for_every_user,
                a_store_for_others_is_permission_denied,
                a_fixed_address_never_replaces_a_mapping,
                a_peer_that_shrinks_an_object_makes_touching_it_sigbus,
                refresh_tells_what_a_peer_left_of_the_object,
                an_unnamed_region_cannot_be_shrunk,
                a_named_region_takes_no_seal,
                pages_that_a_peer_frees_are_zeros_or_in_a_full_store_sigbus,
            }
            identity {
                metadata_of_an_identity_is_that_of_the_list_and_of_the_open_region,
                metadata_needs_neither_permission_nor_a_size,
                an_owner_takes_back_what_the_mode_keeps_them_out_of,
                mode_and_owner_are_changed_by_identity_as_by_the_open_region,
                a_missing_identity_is_not_found_and_a_foreign_one_invalid,
                an_identity_finds_its_own_backend,
            }
            lifetime {
                a_region_outlives_its_handles_and_processes,
                dropping_a_handle_unmaps_and_closes_it_and_removes_nothing,
                dropping_a_handle_of_what_others_removed_is_silent,
                removal_on_drop_removes_with_the_handle_that_created,
                removal_on_drop_is_the_creating_handles_alone,
                removal_on_drop_never_happens_in_a_forked_child,
                removal_on_drop_leaves_a_newer_object_of_the_same_name_alone,
                a_clone_is_a_second_mapping_of_the_same_object,
                a_clone_can_be_made_after_removal_where_the_capability_says_so,
                a_clone_after_a_stricter_mode_is_checked_again_where_the_system_does,
            }
            mapping {
                what_is_kept_out_of_core_dumps_stays_out_whatever_becomes_of_the_mapping,
                a_core_has_the_bytes_of_a_region_unless_it_is_kept_out,
                thousands_of_regions_fit_into_a_few_descriptors,
                without_its_descriptor_a_region_says_what_it_cannot_do,
                opening_maps_in_every_page_if_asked,
                several_threads_map_in_every_page_and_none_of_them_is_left,
                prefaulting_more_than_there_is_is_no_space_and_no_signal,
                a_few_pages_that_are_there_are_mapped_in_unasked_and_nothing_is_taken,
            }
            removal {
                a_removed_region_goes_on_working_in_every_process,
                a_removed_name_can_be_created_at_once_and_is_another_zeroed_object,
                removing_an_old_handles_region_leaves_a_newer_one_of_its_name_alone,
                what_bears_the_name_of_an_object_that_was_renamed_is_left_alone,
                removing_an_unnamed_region_is_unsupported_or_not_found,
                removing_twice_is_not_found_whichever_way_and_whoever_has_it_mapped,
                any_handle_of_the_owner_removes_a_read_only_one_too,
                metadata_says_of_every_handle_that_a_region_was_removed,
                removal_races_with_open_stat_map_and_removal_and_all_are_found_or_not,
            }
            unused {
                what_nobody_holds_is_removed_if_unused,
                what_somebody_holds_is_kept_until_they_go,
                a_forked_child_that_inherited_a_region_holds_it,
                who_has_only_a_descriptor_holds_a_region,
                who_has_it_mapped_alone_holds_a_region,
                an_ordinary_user_removes_what_they_left_behind,
                another_users_region_is_never_removed_if_unused,
            }
            names {
                a_name_outside_of_the_grammar_is_refused_and_the_message_says_which_rule_broke,
                a_name_with_and_without_its_slash_is_the_same_name,
                every_name_of_the_grammar_works,
                a_name_has_the_same_key_in_every_process,
                a_listed_id_opens_and_removes_its_region,
                a_list_leaves_out_what_is_no_shared_memory,
                listing_never_fails_while_regions_come_and_go,
                exists_agrees_with_create_and_remove,
                the_text_of_an_id_opens_the_region_in_another_process,
                what_an_identity_stands_for_is_created_or_opened,
                an_id_of_another_backend_is_refused_and_opens_nothing,
                a_region_says_by_what_it_can_be_opened,
            }
            open {
                a_missing_name_is_not_found_at_once,
                the_size_comes_from_the_object,
                a_min_size_above_the_object_is_size_mismatch_to_the_byte,
                an_object_as_large_as_an_address_space_is_an_error_and_no_panic,
                a_read_only_open_needs_read_permission_alone,
                writing_to_a_read_only_region_is_read_only,
                writing_a_value_to_a_read_only_region_is_read_only,
                a_raw_write_to_a_read_only_region_dies_of_sigsegv,
                mprotect_does_not_make_a_read_only_region_writable,
                the_same_object_opened_twice_gives_two_coherent_mappings,
                two_mappings_in_a_process_are_counted_twice,
                descriptors_are_close_on_exec,
                a_spawned_program_inherits_neither_descriptors_nor_mappings,
                a_timeout_that_passes_is_not_found_and_not_early,
                an_open_with_a_timeout_meets_the_creator,
                a_timeout_delays_nothing_that_exists,
                a_timeout_is_one_deadline_for_a_missing_name_and_a_size_of_zero,
                an_open_with_a_timeout_waits_for_the_size,
            }
            permissions {
                open_without_permission_is_permission_denied,
                permission_bits_of_the_group_count_for_its_members,
                a_mode_can_keep_its_own_owner_out_but_not_from_removing,
                set_mode_gives_an_owner_the_region_back,
                a_denial_is_not_waited_out,
                removing_somebody_elses_region_is_permission_denied,
                remove_if_unused_of_somebody_elses_region_removes_nothing,
                another_user_finds_a_taken_name_taken,
                metadata_works_for_whoever_may_read,
                set_mode_is_for_the_owner,
                set_owner_gives_a_group_of_ones_own,
                set_owner_beyond_ones_own_groups_depends_on_creators,
                set_owner_by_privilege_gives_all_rights_away,
                list_shows_regions_that_one_may_not_open,
                expect_owner_refuses_the_object_of_another_user,
                expect_owner_tells_whose_it_is_and_maps_nothing,
                expect_owner_does_not_trust_a_creator_who_keeps_rights,
            }
            process {
                a_forked_child_may_drop_what_it_inherited_and_the_parent_notices_nothing,
                a_forked_child_shares_the_bytes_and_may_die_of_sigkill,
                a_forked_child_removes_on_drop_what_it_created_itself,
                a_child_of_which_the_c_library_knows_nothing_removes_nothing_of_its_parents,
                where_no_page_is_wiped_a_forked_child_removes_nothing_all_the_same,
                attach_counts_follow_fork_exit_exec_and_sigkill,
                attach_counts_are_waited_for_where_there_are_any,
            }
            space {
                a_full_store_is_no_space_at_creation,
                a_reserved_region_can_be_touched_when_the_store_is_full,
                lazy_creates_what_memory_could_not_hold,
                reserving_takes_the_memory_and_prefaulting_maps_it,
                what_could_not_be_reserved_says_so_in_the_metadata,
                what_a_containers_memory_limit_has_no_room_for_is_no_space,
                a_limit_of_the_store_is_named_with_its_value,
                a_limit_of_the_process_is_named_with_its_value,
                lock_memory_keeps_the_pages_resident_until_unlock_memory,
                locking_more_than_the_limit_is_limit_exceeded,
                locking_what_the_store_has_no_room_for_is_no_space,
                mapping_more_than_may_be_locked_is_limit_exceeded,
            }
            unnamed {
                create_unique_finds_a_new_name_that_begins_with_the_prefix,
                an_unnamed_region_is_a_region_like_any_other,
                an_unnamed_region_is_shared_with_forked_children,
                an_unnamed_region_is_gone_with_its_last_handle,
                an_unnamed_region_is_gone_with_its_last_user_also_by_sigkill,
            }
            last_user {
                where_the_last_user_cannot_be_told_that_is_unsupported,
                the_region_goes_with_the_last_handle_whichever_that_is,
                who_does_not_ask_for_it_is_a_user_and_removes_nothing,
                the_last_of_several_processes_removes_it_and_what_a_killed_one_left_is_replaced,
                a_forked_child_is_a_user_and_so_is_a_daemon_of_two_forks,
                of_those_who_start_at_once_after_a_crash_exactly_one_creates,
                last_users_racing_with_openers_never_split,
            }
            replace {
                what_is_too_small_is_replaced_if_that_is_asked_for,
                what_another_user_made_is_refused_or_replaced,
                what_never_got_a_size_is_replaced_once_nobody_holds_it,
                who_keeps_the_lock_makes_replacing_busy_and_delays_removal,
                options_about_the_mapping_count_for_what_exists,
                all_who_replace_at_once_end_on_one_region,
            }
        }
    };
}

/// Makes a named test of every check.
#[doc(hidden)]
#[macro_export]
macro_rules! __tests {
    ({ $sut:ty } $($module:ident { $($check:ident,)* })*) => {
        $(mod $module {
            #[allow(unused_imports, reason = "the implementation may be named by a path that is imported or not")]
            use super::*;

            $(#[test]
            fn $check() {
                let check = concat!(stringify!($module), "::", stringify!($check));
                $crate::run::<$sut>(module_path!(), check, $crate::checks::$module::$check::<$sut>);
            })*
        })*
    };
}

/// All checks by their names.
#[doc(hidden)]
#[macro_export]
macro_rules! __table {
    ({ $sut:ident } $($module:ident { $($check:ident,)* })*) => {
        vec![$($((
            concat!(stringify!($module), "::", stringify!($check)),
            $crate::checks::$module::$check::<$sut> as fn(),
        ),)*)*]
    };
}

/// Every check of an implementation, by its module and name, for who runs them by other means than [`suite!`](crate::suite).
/// One that cannot run unwinds or skips as in a test; second processes need the entry that `suite!` makes.
#[must_use]
pub fn every_check<S: crate::Sut>() -> Vec<(&'static str, fn())> {
    crate::__each_check!(__table S)
}

/// The names of all checks.
#[doc(hidden)]
#[macro_export]
macro_rules! __names {
    ({} $($module:ident { $($check:ident,)* })*) => {
        &[$($(concat!(stringify!($module), "::", stringify!($check)),)*)*]
    };
}

macro_rules! roles {
    ($($module:ident { $($role:ident,)* })*) => {
        /// Finds what a second process is to do.
        #[doc(hidden)]
        #[must_use]
        pub fn role<S: crate::Sut>(name: &str) -> Option<crate::support::run::Role> {
            $($(if name == stringify!($role) {
                return Some(crate::checks::$module::$role::<S>);
            })*)*
            if name == "converse" {
                return Some(crate::support::conversation::converse::<S>);
            }
            None
        }
    };
}

roles! {
    access {
        words_writer,
        texts_writer,
    }
    faults {
        suffers,
    }
    huge {
        asks_for_huge_pages,
        tries_for_huge_pages,
        tries_in_a_small_store,
    }
    leaks {
        counts_after_errors,
    }
    open_or_create {
        makes_a_region_for_all,
        races_to_create,
        removes_all_the_time,
        races_in_a_small_store,
        waits_for_space,
    }
    publish {
        opens_all_the_time,
        leaves_an_object_without_a_size,
        waits_for_a_size,
        says_whether_it_exists,
        loses_the_store_while_init_runs,
        creates_in_the_open,
        creates_in_spite,
        finds_litter,
    }
    sharing {
        answer_in_bytes,
        hammerer,
    }
    crash {
        dies,
        holds,
    }
    create {
        open_and_compare,
        takes_a_taken_name,
        takes_names_in_a_full_store,
        finds_the_name_taken,
        finds_something_foreign,
        creates_under_a_umask,
        asks_for_strange_modes,
        fails_to_create,
    }
    divergence {
        counts,
        creates_the_portable_way,
        creates_a_large_one,
        fixes_addresses,
        looks_around,
    }
    causes {
        is_refused_by_objects,
        is_refused_by_the_store,
        is_over_quota,
        takes_of_the_store,
    }
    errors {
        lacks_permission,
        lacks_space,
        is_interrupted,
        is_forbidden,
    }
    grow {
        grows_in_a_small_store,
        grows_over_limits,
        grows_when_told,
        refreshes,
    }
    growers {
        forks_a_grower,
        grower,
        keeps_the_lock,
    }
    holders {
        is_held_in_every_way,
        says_where_it_holds,
        holds_by_one_of_both,
        holds_one_of_many,
        sees_itself_only,
        sees_nobody,
        removes_what_is_listed,
        replaces_the_object_meanwhile,
        removes_if_unused,
    }
    identity {
        compares_metadata,
    }
    hostile {
        meets_a_planted_entry,
        finds_no_facility,
        uses_a_read_only_store,
        uses_a_place,
        probes,
        probes_once,
        asks_for_addresses,
        loses_pages,
        frees_pages,
    }
    lifetime {
        creator_that_ends,
        drops_handles,
        opens_for_removal_on_drop,
        clones_under_a_stricter_mode,
    }
    mapping {
        dies_with_a_core,
        has_thousands,
        has_no_descriptors,
        prefaults_by_threads,
        prefaults_too_much,
    }
    removal {
        goes_on_working,
        says_how_removal_goes,
        races_with_removal,
    }
    unused {
        starts_in_its_pid_namespace,
        holds_until_told,
        removes_what_nobody_holds,
        keeps_what_somebody_holds,
        forks_a_holder,
        keeps_a_descriptor,
        keeps_a_mapping,
        removes_as_another_user,
        may_not_remove,
    }
    names {
        uses_every_kind_of_name,
        says_key,
        opens_by_text,
    }
    open {
        counts_mappings,
        spawns_with_regions_open,
        says_what_it_holds,
    }
    permissions {
    }
    process {
        counts_attachments,
        waits_for_attachments,
        makes_a_first_process,
        clones_itself,
        forks_uncounted,
        attaches_and_then,
        says_that_it_was_executed,
    }
    space {
        locks_more_than_the_store_has,
        locks_all_that_it_maps,
        outgrows_its_container,
        fills_the_store,
        touches_in_a_full_store,
        counts_resident_pages,
        creates_without_reserving,
        hits_a_limit_of_the_store,
        hits_nofile,
        hits_fsize,
        hits_as,
        locks_memory,
        hits_memlock,
    }
    unnamed {
        kills_users_of_unnamed_regions,
    }
    last_user {
        drops_one_handle_after_another,
        leaves_a_plain_user_behind,
        is_a_user,
        starts_and_kills_users,
        forks_users,
        starts_after_a_crash,
        races_as_last_user,
    }
    replace {
        may_not_replace,
        replaces_what_has_no_size,
        starts_with_another_size,
    }
}
