/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/stream_map.h"

#include <string.h>

/* A local rank at *p, which is moved behind it; -1 if there is none, or none that can exist. */
static int32_t take_rank(const char **p)
{
    int32_t rank = -1;
    for (; **p >= '0' && **p <= '9'; (*p)++) {
        rank = (rank < 0 ? 0 : rank) * 10 + (**p - '0');
        if (rank >= MU_MAX_LOCAL_WORLD) {
            return -1;
        }
    }
    return rank;
}

static bool take_bits(const char **p, uint8_t *ret_bits)
{
    if (**p < '0' || **p > '3') {
        return false;
    }
    *ret_bits = (uint8_t)(**p - '0');
    (*p)++;
    return true;
}

static int fail_map(const char *text, const char *option, struct mu_err *err)
{
    return mu_err_set(err, MU_E_USAGE, 0,
                      "%s: '%s' does not say which streams: write 0 for none, 1 for standard "
                      "output, 2 for standard error, 3 for both, or LOCAL_RANK:STREAMS for some "
                      "workers, as in 0:3,1:2 (local ranks go up to %d)",
                      option, text, MU_MAX_LOCAL_WORLD - 1);
}

int stream_map_parse(const char *text, const char *option, struct stream_map *ret_map,
                     struct mu_err *err)
{
    struct stream_map map = {.highest_named = -1};
    const char *p = text;
    uint8_t bits;
    if (take_bits(&p, &bits) && *p == '\0') {
        memset(map.bits, bits, sizeof(map.bits));
        *ret_map = map;
        return 0;
    }
    for (p = text;; p++) {
        int32_t rank = take_rank(&p);
        if (rank < 0 || *p++ != ':' || !take_bits(&p, &bits) || (*p != ',' && *p != '\0')) {
            return fail_map(text, option, err);
        }
        map.bits[rank] = bits;
        map.highest_named = rank > map.highest_named ? rank : map.highest_named;
        if (*p == '\0') {
            break;
        }
    }
    *ret_map = map;
    return 0;
}

int rank_set_parse(const char *text, const char *option, struct rank_set *ret_set,
                   struct mu_err *err)
{
    struct rank_set set = {.highest_named = -1};
    set.is_everyone = text == NULL || text[0] == '\0';
    for (const char *p = text; !set.is_everyone; p++) {
        p += strspn(p, " ");
        int32_t rank = take_rank(&p);
        p += strspn(p, " ");
        if (rank < 0 || (*p != ',' && *p != '\0')) {
            return mu_err_set(err, MU_E_USAGE, 0,
                              "%s: '%s' is not a list of local ranks: write numbers from 0 to %d "
                              "with commas between them, as in 0,1,2",
                              option, text, MU_MAX_LOCAL_WORLD - 1);
        }
        set.has[rank] = true;
        set.highest_named = rank > set.highest_named ? rank : set.highest_named;
        if (*p == '\0') {
            break;
        }
    }
    *ret_set = set;
    return 0;
}

bool rank_set_has(const struct rank_set *set, uint32_t local_rank)
{
    return set->is_everyone || (local_rank < MU_MAX_LOCAL_WORLD && set->has[local_rank]);
}
