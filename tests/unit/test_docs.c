/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What is shown of the tables: help, manual parts, completions.
 */
#include "launcher/cmd.h"
#include "launcher/cmd_complete.h"
#include "launcher/cmd_docs.h"
#include "launcher/options_doc.h"
#include "muster/mem.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

static const char *terminated(struct mu_buf *text)
{
    mu_buf_append_u8(text, '\0');
    assert_int_equal(strlen((const char *)text->data), text->len - 1);
    return (const char *)text->data;
}

static void assert_fits(const char *text)
{
    for (const char *line = text; *line != '\0';) {
        size_t len = strcspn(line, "\n");
        if (len >= OPTIONS_DOC_WIDTH || (len > 0 && line[len - 1] == ' ')) {
            fail_msg("too long, or blanks at the end: '%.*s'", (int)len, line);
        }
        line += len + (line[len] == '\n');
    }
}

static const struct {
    const char *name;
    enum options_command command;
} with_options[] = {{"run", OPTIONS_RUN},
                    {"serve", OPTIONS_SERVE},
                    {"check", OPTIONS_CHECK},
                    {"status", OPTIONS_STATUS}};

static void test_help_has_every_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(with_options); i++) {
        struct mu_buf buf = {0};
        cmd_docs_help(with_options[i].command, &buf);
        const char *text = terminated(&buf);
        assert_fits(text);
        for (enum options_id id = 0; id < OPTION_COUNT; id++) {
            const struct options_row *row = &options_table()[id];
            char shown[64];
            snprintf(shown, sizeof(shown), " --%s%s%s\n", row->name,
                     row->value_name != NULL ? " " : "",
                     row->value_name != NULL ? row->value_name : "");
            shown[strlen(shown) - 1] = '\0';
            if ((row->commands & with_options[i].command) != 0 && strstr(text, shown) == NULL) {
                fail_msg("'%s' is not in the help of %s", shown, with_options[i].name);
            }
        }
        assert_non_null(strstr(text, "Usage: muster "));
        assert_non_null(strstr(text, "\nExamples:\n"));
        assert_non_null(strstr(text, "\nEnvironment:\n"));
        assert_non_null(strstr(text, "\nExit status:\n"));
        mu_buf_fini(&buf);
    }
}

static void test_manual_has_every_option(void **state)
{
    (void)state;
    for (size_t i = 0; i < MU_COUNT(with_options); i++) {
        struct mu_buf buf = {0};
        assert_int_equal(cmd_docs_man(with_options[i].command, "options", &buf), 0);
        const char *text = terminated(&buf);
        for (enum options_id id = 0; id < OPTION_COUNT; id++) {
            const struct options_row *row = &options_table()[id];
            char shown[128] = "Fl \\-";
            for (const char *p = row->name; *p != '\0'; p++) {
                size_t len = strlen(shown);
                snprintf(shown + len, sizeof(shown) - len, "%s%c", *p == '-' ? "\\" : "", *p);
            }
            if ((row->commands & with_options[i].command) != 0 && strstr(text, shown) == NULL) {
                fail_msg("'%s' is not in the manual of %s", shown, with_options[i].name);
            }
        }
        mu_buf_fini(&buf);
        static const char *const parts[] = {"environment", "exit", "examples"};
        for (size_t part = 0; part < MU_COUNT(parts); part++) {
            struct mu_buf other = {0};
            assert_int_equal(cmd_docs_man(with_options[i].command, parts[part], &other), 0);
            assert_true(other.len > 0);
            mu_buf_fini(&other);
        }
    }
    struct mu_buf none = {0};
    assert_int_equal(cmd_docs_man(OPTIONS_RUN, "poetry", &none), -1);
    assert_int_equal(none.len, 0);
}

static void test_completions_have_every_option(void **state)
{
    (void)state;
    static const char *const shells[] = {"bash", "zsh", "fish"};
    static const char *const formats[] = {" --%s", "'--%s", " -l %s"};
    for (size_t i = 0; i < MU_COUNT(shells); i++) {
        struct mu_buf buf = {0};
        assert_int_equal(cmd_complete_script(shells[i], &buf, NULL), 0);
        const char *text = terminated(&buf);
        for (enum options_id id = 0; id < OPTION_COUNT; id++) {
            char shown[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
            snprintf(shown, sizeof(shown), formats[i], options_table()[id].name);
#pragma GCC diagnostic pop
            assert_non_null(strstr(text, shown));
        }
        size_t count;
        const struct cmd *commands = cmd_table(&count);
        for (size_t c = 0; c < count; c++) {
            assert_non_null(strstr(text, commands[c].name));
        }
        mu_buf_fini(&buf);
    }
    struct mu_err err = MU_ERR_INIT;
    struct mu_buf none = {0};
    assert_int_equal(cmd_complete_script("tcsh", &none, &err), -1);
    assert_string_equal(err.text, "'tcsh' is none of bash, zsh or fish");
}

static void test_overview(void **state)
{
    (void)state;
    struct mu_buf buf = {0};
    cmd_docs_help_all(&buf);
    const char *text = terminated(&buf);
    assert_fits(text);
    size_t count;
    const struct cmd *commands = cmd_table(&count);
    for (size_t i = 0; i < count; i++) {
        char shown[96];
        snprintf(shown, sizeof(shown), "  %-9s %s\n", commands[i].name, commands[i].summary);
        assert_non_null(strstr(text, shown));
    }
    mu_buf_fini(&buf);
}

static void test_man_prose(void **state)
{
    (void)state;
    static const struct {
        const char *prose;
        const char *mdoc;
    } cases[] = {
        {"One. Two", "One.\nTwo\n"},
        {"with --max-restarts, 3-4", "with \\fB\\-\\-max\\-restarts\\fR, 3-4\n"},
        {"as `python -m` does", "as \\fBpython \\-m\\fR does\n"},
        {"'quoted'", "\\&'quoted'\n"},
        {"A. .hidden", "A.\n\\&.hidden\n"},
        {"a\\b", "a\\eb\n"},
        {"an open `quote", "an open `quote\n"},
        {"", "\n"},
    };
    for (size_t i = 0; i < MU_COUNT(cases); i++) {
        struct mu_buf buf = {0};
        options_doc_man_prose(cases[i].prose, &buf);
        assert_string_equal(terminated(&buf), cases[i].mdoc);
        mu_buf_fini(&buf);
    }
}

static void test_wrap(void **state)
{
    (void)state;
    struct mu_buf buf = {0};
    mu_buf_printf(&buf, "  -x");
    options_doc_wrap("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb c `d`",
                     8, 4, &buf);
    assert_string_equal(
        terminated(&buf),
        "  -x    aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\n"
        "        c 'd'\n");
    mu_buf_fini(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_help_has_every_option),
        cmocka_unit_test(test_manual_has_every_option),
        cmocka_unit_test(test_completions_have_every_option),
        cmocka_unit_test(test_overview),
        cmocka_unit_test(test_man_prose),
        cmocka_unit_test(test_wrap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
