/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What check_compare() looks at of each node. Facts are untrusted, see check_rule.h. Pure.
 * Threading: any.
 */
#pragma once

#include "launcher/check_rule.h"

/* Something that is to be the same on all nodes, as people read it. */
struct check_same {
    const char *what;
    enum check_severity severity;
    const char *label;                  /* what it is: "the script" */
    char *(*read)(const json_t *facts); /* owned by the caller; NULL: not known */
    const char *fix;
    const char *covered_by; /* another `what` that explains a difference, or NULL */
};

/* Something that no node should have less of than most. */
struct check_least {
    const char *what;
    const char *label;                    /* "%s of memory may be used" */
    int64_t (*read)(const json_t *facts); /* -1: not known; INT64_MAX: unlimited */
    int percent;                          /* less than so much of it is less */
    bool is_size;                         /* in bytes */
    const char *unit;                     /* else: " Mb/s" */
    const char *fix;
};

const struct check_same *check_compare_same(size_t *ret_count);
const struct check_least *check_compare_least(size_t *ret_count);

/* Differences of Python packages; `facts` are those of nodes with a name, `count` of them. */
void check_compare_packages(const json_t *const *facts, size_t count, struct check_findings *list);

/* Is it told of by a value of its own? "torch==2.11.0" */
bool check_compare_is_own(const char *package);
