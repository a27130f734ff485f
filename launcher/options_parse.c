/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options_parse.h"

#include "muster/env.h"
#include "muster/mem.h"
#include "muster/names.h"

#include <ctype.h>
#include <stdio.h>
#include <string.h>

/* The words that have not been read yet. */
struct words {
    int left;
    char *const *next;
};

/*
 * `muster check` is started as the job would be: it takes what concerns that alone, too, but for
 * flags that make `muster run` show something instead.
 */
static bool is_row_of(const struct options *opts, enum options_id id)
{
    const struct options_row *row = &options_table()[id];
    bool is_of_job =
        (row->commands & OPTIONS_RUN) != 0 && !(row->is_cli_only && row->type == OPTIONS_FLAG);
    return (row->commands & opts->command) != 0 || (opts->command == OPTIONS_CHECK && is_of_job);
}

/* Does `name` begin with the `len` characters at `word`, '_' read as '-'? */
static bool begins_with(const char *name, const char *word, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        if (name[i] == '\0' || name[i] != (word[i] == '_' ? '-' : word[i])) {
            return false;
        }
    }
    return true;
}

static int fail_unknown(const struct options *opts, const char *word, struct mu_err *err)
{
    const char *names[OPTION_COUNT];
    size_t count = 0;
    for (enum options_id id = 0; id < OPTION_COUNT; id++) {
        if (is_row_of(opts, id)) {
            names[count++] = options_table()[id].name;
        }
    }
    char bare[64];
    size_t len = strcspn(word, "=");
    snprintf(bare, sizeof(bare), "%.*s", (int)len, word);
    const char *nearest = mu_names_nearest(bare + strspn(bare, "-"), names, count);
    if (nearest == NULL) {
        return mu_err_set(err, MU_E_USAGE, 0, "unknown option '%.*s'", (int)len, word);
    }
    return mu_err_set(err, MU_E_USAGE, 0, "unknown option '%.*s'; did you mean '--%s'?", (int)len,
                      word, nearest);
}

static int fail_ambiguous(const struct options *opts, const char *name, size_t len,
                          struct mu_err *err)
{
    char list[256] = "";
    size_t used = 0;
    for (enum options_id id = 0; id < OPTION_COUNT && used < sizeof(list); id++) {
        if (is_row_of(opts, id) && begins_with(options_table()[id].name, name, len)) {
            used += (size_t)snprintf(list + used, sizeof(list) - used, "%s--%s",
                                     used > 0 ? ", " : "", options_table()[id].name);
        }
    }
    return mu_err_set(err, MU_E_USAGE, 0, "option '--%.*s' is ambiguous: %s", (int)len, name, list);
}

/* The row whose long name the `len` characters of `name` are, or begin. */
static int find_long(const struct options *opts, const char *name, size_t len,
                     enum options_id *ret_id, struct mu_err *err)
{
    int matches = 0;
    int torchrun_matches = 0;
    enum options_id match = 0;
    enum options_id torchrun_match = 0;
    for (enum options_id id = 0; id < OPTION_COUNT; id++) {
        const struct options_row *row = &options_table()[id];
        if (len == 0 || !is_row_of(opts, id) || !begins_with(row->name, name, len)) {
            continue;
        }
        if (row->name[len] == '\0') {
            *ret_id = id;
            return 0;
        }
        matches++;
        match = id;
        if (row->is_torchrun) {
            torchrun_matches++;
            torchrun_match = id;
        }
    }
    if (matches == 1 || torchrun_matches == 1) {
        *ret_id = matches == 1 ? match : torchrun_match;
        return 0;
    }
    return matches > 1 ? fail_ambiguous(opts, name, len, err) : fail_unknown(opts, name - 2, err);
}

/* argparse's idea of what an option looks like: not "-", not "-5", no name with a space in it. */
static bool looks_like_option(const char *word)
{
    if (word[0] != '-' || word[1] == '\0') {
        return false;
    }
    const char *number = word + 1 + strspn(word + 1, "0123456789");
    if (*number == '.') {
        number += 1 + strspn(number + 1, "0123456789");
    }
    bool is_number = *number == '\0' && isdigit((unsigned char)number[-1]);
    return !is_number && strcspn(word, " =") == strcspn(word, "=");
}

/* The value that must follow `id`, in the same word or, if `inline_value` is NULL, the next. */
static int set_with_value(struct options *opts, enum options_id id, const char *inline_value,
                          struct words *words, struct mu_err *err)
{
    const struct options_row *row = &options_table()[id];
    if (inline_value == NULL) {
        if (words->left == 0) {
            return mu_err_set(err, MU_E_USAGE, 0, "option '--%s' needs a value: %s", row->name,
                              row->value_name);
        }
        if (looks_like_option(words->next[0])) {
            return mu_err_set(err, MU_E_USAGE, 0,
                              "option '--%s' needs a value, %s, but '%s' follows", row->name,
                              row->value_name, words->next[0]);
        }
        inline_value = words->next[0];
        words->next++;
        words->left--;
    }
    return options_set(opts, id, inline_value, OPTIONS_FROM_CLI, err);
}

static int read_long(struct options *opts, const char *word, struct words *words,
                     struct mu_err *err)
{
    const char *name = word + 2;
    size_t len = strcspn(name, "=");
    const char *value = name[len] == '=' ? name + len + 1 : NULL;
    enum options_id id = 0;
    if (find_long(opts, name, len, &id, err) != 0) {
        return -1;
    }
    if (options_table()[id].type != OPTIONS_FLAG) {
        return set_with_value(opts, id, value, words, err);
    }
    if (value != NULL) {
        return mu_err_set(err, MU_E_USAGE, 0, "option '--%s' takes no value, but was given '%s'",
                          options_table()[id].name, value);
    }
    return options_set(opts, id, NULL, OPTIONS_FROM_CLI, err);
}

/* One dash: flags, and at the end perhaps an option with its value: -m, -mr3, -r=3, -r 3. */
static int read_short(struct options *opts, const char *word, struct words *words,
                      struct mu_err *err)
{
    for (const char *p = word + 1; *p != '\0' && !opts->help; p++) {
        enum options_id id = 0;
        while (id < OPTION_COUNT &&
               !(is_row_of(opts, id) && options_table()[id].short_name == *p)) {
            id++;
        }
        if (id == OPTION_COUNT) {
            return fail_unknown(opts, word, err);
        }
        if (options_table()[id].type != OPTIONS_FLAG) {
            const char *value = p[1] != '\0' ? p + 1 + (p[1] == '=') : NULL;
            return set_with_value(opts, id, value, words, err);
        }
        if (options_set(opts, id, NULL, OPTIONS_FROM_CLI, err) != 0) {
            return -1;
        }
    }
    return 0;
}

/* A word that is no option. *ret_ends is set if all that follows belongs to it. */
static int read_positional(struct options *opts, char *const *word, bool *ret_ends,
                           struct mu_err *err)
{
    switch (opts->command) {
    case OPTIONS_RUN:
    case OPTIONS_CHECK:
        opts->script = word[0];
        opts->script_args = word + 1;
        *ret_ends = true;
        return 0;
    case OPTIONS_STATUS:
        if (opts->target == NULL) {
            opts->target = word[0];
            return 0;
        }
        break;
    case OPTIONS_SERVE:
        break;
    }
    return mu_err_set(err, MU_E_USAGE, 0, "unexpected argument '%s'", word[0]);
}

static int read_command_line(struct options *opts, int argc, char *const *argv, struct mu_err *err)
{
    struct words words = {.left = argc - 1, .next = argv + 1};
    bool options_over = false;
    bool ends = false;
    while (words.left > 0 && !ends && !opts->help) {
        char *const *word = words.next++;
        words.left--;
        int rc = 0;
        if (options_over || !looks_like_option(word[0])) {
            rc = read_positional(opts, word, &ends, err);
        } else if (strcmp(word[0], "--") == 0) {
            options_over = true;
        } else if (word[0][1] == '-') {
            rc = read_long(opts, word[0], &words, err);
        } else {
            rc = read_short(opts, word[0], &words, err);
        }
        if (rc != 0) {
            return -1;
        }
    }
    return 0;
}

/* May a row be read from variables of this origin? */
static bool is_bound(const struct options_row *row, enum options_origin origin)
{
    switch (origin) {
    case OPTIONS_FROM_ALSO:
        return row->also_env != NULL;
    case OPTIONS_FROM_PET:
        return row->is_torchrun && !row->is_cli_only;
    case OPTIONS_FROM_MUSTER:
        return !row->is_cli_only;
    case OPTIONS_FROM_DEFAULT:
    case OPTIONS_FROM_SCHED:
    case OPTIONS_FROM_OTHER:
    case OPTIONS_FROM_CLI:
        break;
    }
    return false;
}

static int read_environment(struct options *opts, char *const *envp, struct mu_err *err)
{
    static const enum options_origin origins[] = {OPTIONS_FROM_MUSTER, OPTIONS_FROM_PET,
                                                  OPTIONS_FROM_ALSO};
    for (enum options_id id = 0; id < OPTION_COUNT; id++) {
        for (size_t i = 0; i < MU_COUNT(origins) && is_row_of(opts, id); i++) {
            if (!is_bound(&options_table()[id], origins[i])) {
                continue;
            }
            char name[64];
            options_origin_name(id, origins[i], name, sizeof(name));
            const char *text = mu_env_get(envp, name);
            if (text != NULL && options_set(opts, id, text, origins[i], err) != 0) {
                return -1;
            }
        }
    }
    return 0;
}

int options_parse(struct options *opts, enum options_command command, int argc, char *const *argv,
                  char *const *envp, struct mu_err *err)
{
    options_init(opts, command);
    if (read_command_line(opts, argc, argv, err) != 0) {
        return -1;
    }
    return opts->help ? 0 : read_environment(opts, envp, err);
}
