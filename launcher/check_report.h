/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the first node of a check makes of all that came to it: the findings, and the documents for
 * people and programs. Pure. Threading: any.
 */
#pragma once

#include "launcher/check_links.h"
#include "launcher/hostlist.h"
#include "muster/buf.h"

#include <jansson.h>
#include <stdint.h>

/* All borrowed. */
struct check_report {
    size_t count;                 /* nodes that came */
    size_t expected;              /* nodes that should have */
    const struct hostlist *hosts; /* the scheduler's names of those, or NULL */
    const char *meeting;          /* where they should have come: HOST:PORT */
    int64_t join_timeout_ms;
    const struct check_links *links;
    json_t *const *facts; /* `count` of them, NULL for none */
};

/* Everything that is wrong: on one node, between nodes, on the network, with who came. */
void check_report_judge(const struct check_report *r, struct check_findings *findings);

/* One screen for people. */
void check_report_text(const struct check_report *r, const struct check_findings *findings,
                       struct mu_buf *text);

/*
 * The document for programs: what check_findings_json() has, and "version", "expected_nodes",
 * "missing", "names", "coordinator", "connections" and "facts". Owned by the caller.
 */
json_t *check_report_json(const struct check_report *r, const struct check_findings *findings);
