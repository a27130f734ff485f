/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/fabric.h"

#include "muster/mem.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX_MATRIX = 16, MAX_COLUMN = 14, MIN_COLUMN = 9, MAX_LISTED = 20 };

static double latency_us(const struct fabric_pair *pair)
{
    return pair->latency_s * 1e6;
}

static double bandwidth_mb(const struct fabric_pair *pair)
{
    return pair->bandwidth / 1e6;
}

/* The end of a long name: that is where the number is. */
static const char *short_name(const struct fabric *f, int node)
{
    const char *name = f->names[node];
    size_t len = strlen(name);
    return len > MAX_COLUMN ? name + len - MAX_COLUMN : name;
}

static int column_width(const struct fabric *f)
{
    size_t width = MIN_COLUMN;
    for (int i = 0; i < f->nodes; i++) {
        size_t len = strlen(short_name(f, i));
        width = len > width ? len : width;
    }
    return (int)width;
}

static void show_matrix(const struct fabric *f, struct mu_buf *out, const char *title,
                        double (*value_of)(const struct fabric_pair *), bool is_latency)
{
    int width = column_width(f);
    size_t cells = (size_t)f->nodes * (size_t)f->nodes;
    mu_autofree size_t *grid = mu_calloc(cells, sizeof(*grid)); /* index + 1 of the pair */
    for (size_t i = 0; i < f->pair_count; i++) {
        const struct fabric_pair *pair = &f->pairs[i];
        grid[pair->a * f->nodes + pair->b] = grid[pair->b * f->nodes + pair->a] = i + 1;
    }
    mu_buf_printf(out, "\n%s\n%*s", title, width, "");
    for (int col = 0; col < f->nodes; col++) {
        mu_buf_printf(out, "  %*s", width, short_name(f, col));
    }
    for (int row = 0; row < f->nodes; row++) {
        mu_buf_printf(out, "\n%-*s", width, short_name(f, row));
        for (int col = 0; col < f->nodes; col++) {
            size_t at = grid[row * f->nodes + col];
            char text[32] = "-";
            if (at > 0) {
                const struct fabric_pair *pair = &f->pairs[at - 1];
                bool is_slow = is_latency ? pair->is_latency_slow : pair->is_bandwidth_slow;
                snprintf(text, sizeof(text), "%s%.1f", is_slow ? "*" : "", value_of(pair));
            }
            mu_buf_printf(out, "  %*s", width, text);
        }
    }
    mu_buf_printf(out, "\n");
}

static int compare(const void *left, const void *right)
{
    double a = *(const double *)left;
    double b = *(const double *)right;
    return a < b ? -1 : a > b;
}

static void show_summary(const struct fabric *f, struct mu_buf *out, const char *title,
                         double (*value_of)(const struct fabric_pair *))
{
    mu_autofree double *values = mu_calloc(f->pair_count, sizeof(*values));
    for (size_t i = 0; i < f->pair_count; i++) {
        values[i] = value_of(&f->pairs[i]);
    }
    qsort(values, f->pair_count, sizeof(*values), compare);
    mu_buf_printf(out, "%-34s least %.1f, median %.1f, most %.1f\n", title, values[0],
                  values[f->pair_count / 2], values[f->pair_count - 1]);
}

/* How a pair is worse than the good ones, in words. */
static void show_how(const struct fabric *f, struct mu_buf *out, const struct fabric_pair *pair)
{
    if (pair->is_latency_slow) {
        mu_buf_printf(out, "latency %.1f us, %.1f times that of good pairs", latency_us(pair),
                      pair->latency_s / f->good_latency_s);
    }
    if (pair->is_bandwidth_slow) {
        mu_buf_printf(out, "%sbandwidth %.1f MB/s, %.0f %% of that of good pairs",
                      pair->is_latency_slow ? "; " : "", bandwidth_mb(pair),
                      pair->bandwidth / f->good_bandwidth * 100);
    }
    mu_buf_printf(out, "\n");
}

static void show_slow_nodes(const struct fabric *f, struct mu_buf *out)
{
    int listed = 0;
    for (int node = 0; node < f->nodes && listed < MAX_LISTED; node++) {
        if (!f->is_slow_node[node]) {
            continue;
        }
        const struct fabric_pair *example = NULL;
        int count = 0;
        for (size_t i = 0; i < f->pair_count; i++) {
            if (f->pairs[i].a == node || f->pairs[i].b == node) {
                example = &f->pairs[i];
                count++;
            }
        }
        MU_REQUIRE(example != NULL); /* fabric_judge() */
        mu_buf_printf(
            out, "slow node: %s: all %d pairs with it that were measured are slow; with %s: ",
            f->names[node], count, f->names[example->a == node ? example->b : example->a]);
        show_how(f, out, example);
        listed++;
    }
    if (f->slow_nodes > listed) {
        mu_buf_printf(out, "and %d slow nodes more\n", f->slow_nodes - listed);
    }
}

static void show_slow_pairs(const struct fabric *f, struct mu_buf *out)
{
    size_t listed = 0;
    size_t count = 0;
    for (size_t i = 0; i < f->pair_count; i++) {
        const struct fabric_pair *pair = &f->pairs[i];
        if (!fabric_is_slow(pair) || f->is_slow_node[pair->a] || f->is_slow_node[pair->b]) {
            continue;
        }
        if (count++ < MAX_LISTED) {
            mu_buf_printf(out, "slow pair: %s - %s: ", f->names[pair->a], f->names[pair->b]);
            show_how(f, out, pair);
            listed++;
        }
    }
    if (count > listed) {
        mu_buf_printf(out, "and %zu slow pairs more\n", count - listed);
    }
}

/* What goes over the links of a node in a ring: 2 (n - 1) / n of the data. */
static double bus_bandwidth(const struct fabric *f, const struct fabric_reduce *r)
{
    return 2.0 * (f->nodes - 1) / f->nodes * (double)r->bytes / r->seconds;
}

static void show_reduces(const struct fabric *f, struct mu_buf *out)
{
    for (size_t i = 0; i < FABRIC_REDUCES; i++) {
        const struct fabric_reduce *r = &f->reduces[i];
        if (r->bytes > 0) {
            mu_buf_printf(out, "all-reduce of %zu bytes over all nodes: %.1f us", r->bytes,
                          r->seconds * 1e6);
            if (r->bytes >= 65536) {
                mu_buf_printf(out, ", %.1f MB/s on each node's link", bus_bandwidth(f, r) / 1e6);
            }
            mu_buf_printf(out, "\n");
        }
    }
}

static size_t all_pairs(const struct fabric *f)
{
    return (size_t)f->nodes * (size_t)(f->nodes - 1) / 2;
}

void fabric_show(const struct fabric *f, struct mu_buf *out)
{
    mu_buf_printf(out, "fabric of %d nodes, measured in %.1f s: %zu of %zu pairs%s\n", f->nodes,
                  f->seconds, f->pair_count, all_pairs(f),
                  f->pair_count < all_pairs(f) ? "; for more there was no time" : "");
    if (f->pair_count == 0) {
        return;
    }
    if (f->nodes <= MAX_MATRIX) {
        show_matrix(f, out, "latency, microseconds one way", latency_us, true);
        show_matrix(f, out, "bandwidth, MB/s one way", bandwidth_mb, false);
        mu_buf_printf(out, "\n");
    } else {
        show_summary(f, out, "latency, microseconds one way:", latency_us);
        show_summary(f, out, "bandwidth, MB/s one way:", bandwidth_mb);
    }
    show_reduces(f, out);
    if (f->pair_count < 3) {
        mu_buf_printf(out, "too few pairs to tell a slow one from the others\n");
    } else if (f->slow_pairs == 0) {
        mu_buf_printf(out, "nothing is slow compared with the rest\n");
    } else {
        mu_buf_printf(out, "good pairs, the best quarter, have %.1f us and %.1f MB/s\n",
                      f->good_latency_s * 1e6, f->good_bandwidth / 1e6);
    }
    show_slow_nodes(f, out);
    show_slow_pairs(f, out);
}

static json_t *pairs_json(const struct fabric *f)
{
    json_t *list = json_array();
    for (size_t i = 0; i < f->pair_count; i++) {
        const struct fabric_pair *pair = &f->pairs[i];
        json_array_append_new(
            list, json_pack("{s:s, s:s, s:f, s:f, s:b, s:b}", "a", f->names[pair->a], "b",
                            f->names[pair->b], "latency_us", latency_us(pair), "bandwidth_mb_s",
                            bandwidth_mb(pair), "latency_slow", pair->is_latency_slow,
                            "bandwidth_slow", pair->is_bandwidth_slow));
    }
    return list;
}

void fabric_show_json(const struct fabric *f, struct mu_buf *out)
{
    json_t *nodes = json_array();
    json_t *slow = json_array();
    json_t *reduces = json_array();
    for (int i = 0; i < f->nodes; i++) {
        json_array_append_new(nodes, json_string(f->names[i]));
        if (f->is_slow_node[i]) {
            json_array_append_new(slow, json_string(f->names[i]));
        }
    }
    for (size_t i = 0; i < FABRIC_REDUCES; i++) {
        const struct fabric_reduce *r = &f->reduces[i];
        if (r->bytes > 0) {
            json_array_append_new(reduces, json_pack("{s:I, s:f, s:f}", "bytes",
                                                     (json_int_t)r->bytes, "us", r->seconds * 1e6,
                                                     "bus_mb_s", bus_bandwidth(f, r) / 1e6));
        }
    }
    json_t *all = json_pack("{s:o, s:o, s:I, s:I, s:f, s:f, s:f, s:o, s:o}", "nodes", nodes,
                            "pairs", pairs_json(f), "all_pairs", (json_int_t)all_pairs(f),
                            "slow_pairs", (json_int_t)f->slow_pairs, "good_latency_us",
                            f->good_latency_s * 1e6, "good_bandwidth_mb_s", f->good_bandwidth / 1e6,
                            "seconds", f->seconds, "slow_nodes", slow, "all_reduce", reduces);
    char *text = json_dumps(all, JSON_COMPACT);
    MU_REQUIRE(text != NULL);
    mu_buf_printf(out, "%s\n", text);
    free(text);
    json_decref(all);
}
