/* SPDX-License-Identifier: Apache-2.0 */
#include "mpi/fabric.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

enum { MAX = 40 };

/* All pairs of some nodes, on a healthy network with a little noise. */
struct scene {
    struct fabric f;
    struct fabric_pair pairs[MAX * MAX / 2];
    char names[MAX][MU_MAX_NAME + 1];
    bool slow[MAX];
};

static void scene_init(struct scene *s, int nodes)
{
    memset(s, 0, sizeof(*s));
    s->f = (struct fabric){.names = (const char(*)[MU_MAX_NAME + 1]) s->names,
                           .nodes = nodes,
                           .pairs = s->pairs,
                           .is_slow_node = s->slow,
                           .seconds = 1.5};
    for (int a = 0; a < nodes; a++) {
        snprintf(s->names[a], sizeof(s->names[a]), "node%d", a + 1);
        for (int b = a + 1; b < nodes; b++) {
            int noise = (a * 7 + b * 13) % 10;
            s->pairs[s->f.pair_count++] = (struct fabric_pair){
                .a = a,
                .b = b,
                .latency_s = 20e-6 + noise * 1e-6,
                .bandwidth = 10e9 - noise * 1e8,
            };
        }
    }
}

static struct fabric_pair *pair_of(struct scene *s, int a, int b)
{
    for (size_t i = 0; i < s->f.pair_count; i++) {
        if (s->pairs[i].a == a && s->pairs[i].b == b) {
            return &s->pairs[i];
        }
    }
    fail();
    return NULL;
}

static void spoil_node(struct scene *s, int node, double latency, double bandwidth)
{
    for (size_t i = 0; i < s->f.pair_count; i++) {
        if (s->pairs[i].a == node || s->pairs[i].b == node) {
            s->pairs[i].latency_s *= latency;
            s->pairs[i].bandwidth *= bandwidth;
        }
    }
}

static char *text_of(const struct scene *s)
{
    struct mu_buf out = {0};
    fabric_show(&s->f, &out);
    return mu_buf_take_text(&out);
}

static void test_healthy(void **state)
{
    (void)state;
    for (int n = 2; n <= MAX; n++) {
        struct scene s;
        scene_init(&s, n);
        fabric_judge(&s.f);
        assert_int_equal(s.f.slow_pairs, 0);
        assert_int_equal(s.f.slow_nodes, 0);
        mu_autofree char *text = text_of(&s);
        assert_null(strstr(text, "slow node"));
        assert_null(strstr(text, "slow pair"));
        assert_null(strchr(text, '*'));
    }
}

/* One slow node of three spoils two of three pairs, and still it is the one that is named. */
static void test_slow_node(void **state)
{
    (void)state;
    for (int n = 3; n <= MAX; n++) {
        for (int is_latency = 0; is_latency < 2; is_latency++) {
            struct scene s;
            scene_init(&s, n);
            spoil_node(&s, n / 2, is_latency ? 100 : 1, is_latency ? 1 : 0.3);
            fabric_judge(&s.f);
            assert_int_equal(s.f.slow_pairs, n - 1);
            assert_int_equal(s.f.slow_nodes, 1);
            assert_true(s.slow[n / 2]);
            mu_autofree char *text = text_of(&s);
            char expected[64];
            snprintf(expected, sizeof(expected), "slow node: node%d: ", n / 2 + 1);
            assert_non_null(strstr(text, expected));
            assert_null(strstr(text, "slow pair: "));
        }
    }
}

static void test_two_slow_nodes(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 8);
    spoil_node(&s, 1, 50, 1);
    spoil_node(&s, 6, 1, 0.4);
    fabric_judge(&s.f);
    assert_int_equal(s.f.slow_nodes, 2);
    assert_int_equal(s.f.slow_pairs, 13);
}

static void test_slow_pair(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 4);
    pair_of(&s, 1, 3)->bandwidth = 1e9;
    fabric_judge(&s.f);
    assert_int_equal(s.f.slow_nodes, 0);
    assert_int_equal(s.f.slow_pairs, 1);
    mu_autofree char *text = text_of(&s);
    assert_non_null(strstr(text, "slow pair: node2 - node4: bandwidth 1000.0 MB/s, 10 % of"));
    assert_non_null(strstr(text, "*1000.0"));
}

/* Twice the latency is another switch; a few microseconds are nothing, whatever the ratio. */
static void test_not_slow(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 6);
    spoil_node(&s, 0, 2, 0.6);
    fabric_judge(&s.f);
    assert_int_equal(s.f.slow_pairs, 0);
    scene_init(&s, 6);
    for (size_t i = 0; i < s.f.pair_count; i++) {
        s.pairs[i].latency_s = 1e-6;
    }
    pair_of(&s, 0, 1)->latency_s = 8e-6;
    fabric_judge(&s.f);
    assert_int_equal(s.f.slow_pairs, 0);
}

static void test_two_nodes_cannot_be_compared(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 2);
    s.pairs[0].latency_s = 1;
    fabric_judge(&s.f);
    assert_int_equal(s.f.slow_pairs, 0);
    mu_autofree char *text = text_of(&s);
    assert_non_null(strstr(text, "too few pairs"));
}

static void test_nothing_was_measured(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 5);
    s.f.pair_count = 0;
    fabric_judge(&s.f);
    mu_autofree char *text = text_of(&s);
    assert_non_null(strstr(text, "0 of 10 pairs; for more there was no time"));
}

/* Beyond 16 nodes: no matrix; a list that ends. */
static void test_many_slow_pairs(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, MAX);
    for (int i = 0; i + 1 < MAX; i += 2) {
        pair_of(&s, i, i + 1)->latency_s = 1e-3;
        pair_of(&s, i, MAX - 1)->latency_s = 1e-3;
    }
    fabric_judge(&s.f);
    assert_int_equal(s.f.slow_nodes, 0);
    mu_autofree char *text = text_of(&s);
    assert_non_null(strstr(text, "slow pairs more"));
    assert_true(strlen(text) < 4096);
}

static void test_long_names(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 3);
    for (int i = 0; i < 3; i++) {
        memset(s.names[i], 'a', MU_MAX_NAME);
        s.names[i][MU_MAX_NAME - 1] = (char)('1' + i);
    }
    fabric_judge(&s.f);
    mu_autofree char *text = text_of(&s);
    assert_non_null(strstr(text, "  aaaaaaaaaaaaa2  aaaaaaaaaaaaa3\n"));
}

static void test_json(void **state)
{
    (void)state;
    struct scene s;
    scene_init(&s, 4);
    snprintf(s.names[2], sizeof(s.names[2]), "a\"b");
    spoil_node(&s, 2, 100, 1);
    s.f.reduces[0] = (struct fabric_reduce){.bytes = 8, .seconds = 50e-6};
    fabric_judge(&s.f);
    struct mu_buf out = {0};
    fabric_show_json(&s.f, &out);
    json_t *all = json_loadb((const char *)out.data, out.len, 0, NULL);
    assert_non_null(all);
    assert_int_equal(json_array_size(json_object_get(all, "pairs")), 6);
    assert_int_equal(json_array_size(json_object_get(all, "nodes")), 4);
    json_t *slow = json_object_get(all, "slow_nodes");
    assert_int_equal(json_array_size(slow), 1);
    assert_string_equal(json_string_value(json_array_get(slow, 0)), "a\"b");
    json_decref(all);
    mu_buf_fini(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_healthy),
        cmocka_unit_test(test_slow_node),
        cmocka_unit_test(test_two_slow_nodes),
        cmocka_unit_test(test_slow_pair),
        cmocka_unit_test(test_not_slow),
        cmocka_unit_test(test_two_nodes_cannot_be_compared),
        cmocka_unit_test(test_nothing_was_measured),
        cmocka_unit_test(test_many_slow_pairs),
        cmocka_unit_test(test_long_names),
        cmocka_unit_test(test_json),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
