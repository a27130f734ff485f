/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/stream_map.h"

#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

static struct stream_map good(const char *text)
{
    struct stream_map map;
    struct mu_err err = MU_ERR_INIT;
    if (stream_map_parse(text, "--tee", &map, &err) != 0) {
        fail_msg("'%s': %s", text, err.text);
    }
    return map;
}

static void one_digit_is_for_all(void **state)
{
    (void)state;
    static const char *const texts[] = {"0", "1", "2", "3"};
    for (unsigned k = 0; k < MU_COUNT(texts); k++) {
        struct stream_map map = good(texts[k]);
        assert_int_equal(map.highest_named, -1);
        for (int i = 0; i < MU_MAX_LOCAL_WORLD; i++) {
            assert_int_equal(map.bits[i], k);
        }
    }
}

static void maps_name_ranks(void **state)
{
    (void)state;
    struct stream_map map = good("0:3,1:0,2:1,10:2,1023:3,2:2,007:1");
    assert_int_equal(map.highest_named, 1023);
    for (unsigned i = 0; i < MU_MAX_LOCAL_WORLD; i++) {
        unsigned expected = i == 0 || i == 1023 ? 3 : i == 2 || i == 10 ? 2 : i == 7 ? 1 : 0;
        assert_int_equal(map.bits[i], expected);
    }
}

static void nonsense_is_refused(void **state)
{
    (void)state;
    static const char *const texts[] = {"",
                                        "4",
                                        "33",
                                        "-1",
                                        "x",
                                        ":",
                                        "0:",
                                        ":1",
                                        "0:4",
                                        "0:11",
                                        "0:1,",
                                        ",0:1",
                                        "0:1,,1:2",
                                        "0:1 ,1:2",
                                        "0:1;1:2",
                                        "1,2",
                                        "1024:1",
                                        "0:1,3",
                                        "99999999999999999999:1",
                                        "3,",
                                        "0x1:1"};
    for (size_t i = 0; i < MU_COUNT(texts); i++) {
        struct stream_map map = {.highest_named = 77};
        struct mu_err err = MU_ERR_INIT;
        assert_int_equal(stream_map_parse(texts[i], "--redirects", &map, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
        assert_non_null(strstr(err.text, "--redirects"));
        assert_non_null(strstr(err.text, texts[i]));
        assert_int_equal(map.highest_named, 77);
    }
}

static void sets_of_ranks(void **state)
{
    (void)state;
    struct rank_set set;
    struct mu_err err = MU_ERR_INIT;
    assert_int_equal(rank_set_parse("0, 12,3", "--local-ranks-filter", &set, &err), 0);
    assert_true(rank_set_has(&set, 0) && rank_set_has(&set, 3) && rank_set_has(&set, 12));
    assert_false(rank_set_has(&set, 1) || rank_set_has(&set, MU_MAX_LOCAL_WORLD));
    assert_int_equal(set.highest_named, 12);
    static const char *const everyone[] = {NULL, ""};
    for (size_t i = 0; i < MU_COUNT(everyone); i++) {
        assert_int_equal(rank_set_parse(everyone[i], "--local-ranks-filter", &set, &err), 0);
        assert_true(rank_set_has(&set, 0) && rank_set_has(&set, 1000));
    }
    static const char *const bad[] = {"a", "1,", ",1", "1024", "-1", "1 2", " "};
    for (size_t i = 0; i < MU_COUNT(bad); i++) {
        assert_int_equal(rank_set_parse(bad[i], "--local-ranks-filter", &set, &err), -1);
        assert_int_equal(err.code, MU_E_USAGE);
        assert_non_null(strstr(err.text, "--local-ranks-filter"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_digit_is_for_all),
        cmocka_unit_test(maps_name_ranks),
        cmocka_unit_test(nonsense_is_refused),
        cmocka_unit_test(sets_of_ranks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
