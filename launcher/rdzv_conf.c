/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/rdzv_conf.h"

#include "muster/buf.h"
#include "muster/mem.h"
#include "muster/num.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

enum { MAX_VALUE = 31 };

struct conf {
    char join_timeout[MAX_VALUE + 1]; /* "": not there */
    char timeout[MAX_VALUE + 1];
    char last_call_timeout[MAX_VALUE + 1];
    char keep_alive_interval[MAX_VALUE + 1];
    char keep_alive_max_attempt[MAX_VALUE + 1];
};

static int take(struct conf *conf, struct mu_slice pair, struct mu_err *err)
{
    const struct {
        const char *key;
        char *value;
    } known[] = {{"join_timeout", conf->join_timeout},
                 {"timeout", conf->timeout},
                 {"last_call_timeout", conf->last_call_timeout},
                 {"keep_alive_interval", conf->keep_alive_interval},
                 {"keep_alive_max_attempt", conf->keep_alive_max_attempt}};
    const char *equals = pair.len > 0 ? memchr(pair.ptr, '=', pair.len) : NULL;
    struct mu_slice key = pair;
    struct mu_slice value = {0};
    if (equals != NULL) {
        key.len = (size_t)(equals - pair.ptr);
        value = (struct mu_slice){.ptr = equals + 1, .len = pair.len - key.len - 1};
    }
    key = mu_slice_trim(key);
    value = mu_slice_trim(value);
    if (key.len == 0 || value.len == 0) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "'" MU_SLICE_FMT "' is not KEY=VALUE, as in join_timeout=60",
                          MU_SLICE_ARG(pair));
    }
    for (size_t i = 0; i < MU_COUNT(known); i++) {
        if (!mu_slice_eq(key, mu_slice_of(known[i].key))) {
            continue;
        }
        if (value.len > MAX_VALUE) {
            return mu_err_set(err, MU_E_USAGE, 0, "%s is longer than %d characters", known[i].key,
                              MAX_VALUE);
        }
        snprintf(known[i].value, MAX_VALUE + 1, MU_SLICE_FMT, MU_SLICE_ARG(value));
    }
    return 0;
}

/* A value of torchrun's is a number of seconds; the option's own rule says which. */
static int imply(struct options *opts, enum options_id id, const char *key, const char *value,
                 struct mu_err *err)
{
    if (value[0] == '\0') {
        return 0;
    }
    struct mu_err why = MU_ERR_INIT;
    if (options_set(opts, id, value, OPTIONS_FROM_OTHER, &why) != 0) {
        return mu_err_set(err, MU_E_USAGE, 0, "%s: '%s' is no time in seconds", key, value);
    }
    return 0;
}

static int imply_node_timeout(struct options *opts, const struct conf *conf, struct mu_err *err)
{
    const char *interval = conf->keep_alive_interval;
    const char *attempts = conf->keep_alive_max_attempt;
    if (interval[0] == '\0' && attempts[0] == '\0') {
        return 0;
    }
    int64_t interval_ms = 5000; /* torchrun's defaults */
    int64_t count = 3;
    if (interval[0] != '\0' && mu_parse_duration(interval, &interval_ms, err) != 0) {
        return mu_err_wrap(err, "keep_alive_interval");
    }
    if (attempts[0] != '\0' && mu_parse_int(attempts, 1, 1000, &count, err) != 0) {
        return mu_err_wrap(err, "keep_alive_max_attempt");
    }
    char text[32];
    snprintf(text, sizeof(text), "%" PRId64 "ms", interval_ms * count);
    return imply(opts, OPTION_node_timeout_ms, "keep_alive_interval", text, err);
}

int rdzv_conf_apply(struct options *opts, struct mu_err *err)
{
    struct conf conf = {0};
    const char *next = opts->rdzv_conf != NULL ? opts->rdzv_conf : "";
    while (*next != '\0') {
        size_t len = strcspn(next, ",");
        if (take(&conf, (struct mu_slice){.ptr = next, .len = len}, err) != 0) {
            return mu_err_wrap(err, "--rdzv-conf");
        }
        next += len + (next[len] == ',');
    }
    bool has_join = conf.join_timeout[0] != '\0';
    if (imply(opts, OPTION_join_timeout_ms, has_join ? "join_timeout" : "timeout",
              has_join ? conf.join_timeout : conf.timeout, err) != 0 ||
        imply(opts, OPTION_last_call_ms, "last_call_timeout", conf.last_call_timeout, err) != 0 ||
        imply_node_timeout(opts, &conf, err) != 0) {
        return mu_err_wrap(err, "--rdzv-conf");
    }
    return 0;
}
