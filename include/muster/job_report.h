/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How a job ended, as a JSON document for programs: what `muster run --report FILE` writes. Its
 * fields are an interface: docs/REPORT.md.
 *
 * Threading: any.
 */
#pragma once

struct member_view; /* rendezvous/member.h */

/*
 * The report of a job that has ended, in at most MU_REPORT_MAX bytes. `summary` is one line for
 * people. Owned by the caller.
 */
char *job_report_text(const struct member_view *view, const char *summary);

/*
 * The same from an agent that was never told the end of its job: all it knows is why it gave up.
 * `summary` may be NULL. Owned by the caller.
 */
char *job_report_text_alone(const char *run_id, int exit_status, const char *summary);
