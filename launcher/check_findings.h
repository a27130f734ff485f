/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is wrong with the nodes of a job, in words: found by check_local() and check_compare() in
 * the facts of check_facts.h, and by whoever else adds to the list. docs/CHECK.md names the rules.
 *
 * Facts come from other nodes and may be anything: what is missing or of another type is not known,
 * and nothing is concluded from it. Pure. Threading: any, one list at a time.
 */
#pragma once

#include "muster/buf.h"

#include <jansson.h>
#include <stddef.h>

enum check_severity {
    CHECK_ERROR,   /* the job will fail, or cannot be trusted */
    CHECK_WARNING, /* it may be slow, or fail later */
};

/* All texts are owned, printable and of a bounded length. */
struct check_finding {
    enum check_severity severity;
    char *node;     /* NULL: the nodes as a whole */
    char *what;     /* a word that programs may rely on: "memlock" */
    char *found;    /* "the limit on locked memory is 8 MiB" */
    char *expected; /* "unlimited, because ..." */
    char *fix;      /* what to do, a command where there is one */
};

/* Zero-initialised is a valid empty list. */
struct check_findings {
    struct check_finding *items; /* owned */
    size_t count;
    size_t cap;
};

/* Add one; the texts are copied, `node` may be NULL. No text ends with a full stop. */
void check_findings_add(struct check_findings *list, enum check_severity severity, const char *node,
                        const char *what, const char *found, const char *expected, const char *fix);

/* How many of a severity there are. */
size_t check_findings_count(const struct check_findings *list, enum check_severity severity);

void check_findings_fini(struct check_findings *list);

/* What one node's facts say by themselves. Nodes are named as "node" in their facts says. */
void check_local(const json_t *facts, struct check_findings *list);

/*
 * What differs between nodes: who is the odd one out, or, where no value has a majority, which
 * nodes have which. To be called after check_local() of all of them with the same list: what is
 * already said of a node is not said again. Names must be different. NULL among `facts` is a node
 * that sent none and is left out.
 */
void check_compare(json_t *const *facts, size_t nodes, struct check_findings *list);

/*
 * Append the list for people: errors first; a finding that several nodes share is said once. The
 * last line counts: "3 nodes, 1 error, 2 warnings" or "3 nodes, nothing found".
 */
void check_findings_text(const struct check_findings *list, size_t nodes, struct mu_buf *text);

/*
 * The same for programs, as docs/CHECK.md has it: {"nodes", "errors", "warnings", "findings": [
 * {"severity", "check", "nodes": [...], "found", "expected", "fix"}]}. Owned by the caller.
 */
json_t *check_findings_json(const struct check_findings *list, size_t nodes);
