/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the rules of check_findings.h are made of. Facts are untrusted: every accessor says no, or
 * gives its fallback, where something is missing or of another type. Pure. Threading: any.
 */
#pragma once

#include "launcher/check_findings.h"

#include <stdbool.h>
#include <stdint.h>

/* The facts of one node, and where its findings go. All borrowed. */
struct check_rule {
    const json_t *facts;
    const char *node;
    struct check_findings *list;
};

/* Of an object that may be NULL or no object. */
int64_t check_rule_int(const json_t *object, const char *key, int64_t fallback);
const char *check_rule_text(const json_t *object, const char *key); /* borrowed, or NULL */
bool check_rule_flag(const json_t *object, const char *key);        /* false unless it is true */

/* What cannot be told apart from its neighbours is no node. NULL, or the node's name, borrowed. */
const char *check_rule_node(const json_t *facts);

/* The CPUs that the workers may use, by affinity and quota; 0: not known. */
int64_t check_rule_cpus(const json_t *facts);

/* GPUs that the workers see; 0: none, or not known. */
int64_t check_rule_gpus(const json_t *facts);

/* "64.0 MiB", with the largest unit that fits; -1 is "unlimited". */
enum { CHECK_RULE_SIZE = 32 };
const char *check_rule_size(int64_t bytes, char text[CHECK_RULE_SIZE]);

/* Append "a, b and c" one by one: the first `index` is 0; beyond some only a count is kept. */
struct check_rule_names {
    struct mu_buf text;
    size_t count;
};
void check_rule_names_add(struct check_rule_names *names, const char *name);
char *check_rule_names_take(struct check_rule_names *names); /* owned by the caller */

/* Add a finding of this node; `found` is as printf makes it. */
void check_rule_say(const struct check_rule *rule, enum check_severity severity, const char *what,
                    const char *expected, const char *fix, const char *found, ...)
    __attribute__((format(printf, 6, 7)));

/* Is something of that kind already said of the node, or of the nodes as a whole? */
bool check_rule_is_said(const struct check_findings *list, const char *node, const char *what);

/* The nodes of which something of a kind is said, for who asks of many of them. */
struct check_rule_said {
    const char **nodes; /* owned, sorted; names are borrowed from the list */
    size_t count;
    bool is_of_all;
};

/* As the list is now. Released with check_rule_said_fini(). */
struct check_rule_said check_rule_said_of(const struct check_findings *list, const char *what);
bool check_rule_said_has(const struct check_rule_said *said, const char *node);
void check_rule_said_fini(struct check_rule_said *said);

/* Rules by what they are about; check_local() is all of them. */
void check_rules_limits(const struct check_rule *rule); /* resource limits */
void check_rules_room(const struct check_rule *rule);   /* CPUs, memory, /dev/shm, directories */
void check_rules_gpus(const struct check_rule *rule);
void check_rules_links(const struct check_rule *rule);
void check_rules_files(const struct check_rule *rule); /* script, Python, programs */
