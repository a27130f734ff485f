/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/options_doc.h"

#include "muster/mem.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

enum { HELP_COLUMN = 28 };

/* The help of a row with its default; owned by the caller. */
static char *full_help(const struct options_row *row)
{
    bool has_default = row->fallback != NULL;
    return mu_asprintf("%s%s%s%s", row->help, has_default ? " Default: " : "",
                       has_default ? row->fallback : "", has_default ? "." : "");
}

void options_doc_wrap(const char *prose, int indent, int column, struct mu_buf *text)
{
    int at = column;
    bool is_first = true;
    for (const char *p = prose; *p != '\0';) {
        int len = (int)strcspn(p, " ");
        if (is_first) {
            mu_buf_printf(text, "%*s", indent > at ? indent - at : 0, "");
            at = indent > at ? indent : at;
        } else if (at + 1 + len >= OPTIONS_DOC_WIDTH) {
            mu_buf_printf(text, "\n%*s", indent, "");
            at = indent;
        } else {
            mu_buf_append_u8(text, ' ');
            at++;
        }
        for (int i = 0; i < len; i++) {
            mu_buf_append_u8(text, (uint8_t)(p[i] == '`' ? '\'' : p[i]));
        }
        at += len;
        is_first = false;
        p += len;
        p += strspn(p, " ");
    }
    mu_buf_append_u8(text, '\n');
}

static void help_row(const struct options_row *row, struct mu_buf *text)
{
    mu_autofree char *help = full_help(row);
    size_t start = text->len;
    if (row->short_name != 0) {
        mu_buf_printf(text, "  -%c, --%s", row->short_name, row->name);
    } else {
        mu_buf_printf(text, "      --%s", row->name);
    }
    if (row->value_name != NULL) {
        mu_buf_printf(text, " %s", row->value_name);
    }
    int column = (int)(text->len - start);
    if (column + 2 > HELP_COLUMN) {
        mu_buf_append_u8(text, '\n');
        column = 0;
    }
    options_doc_wrap(help, HELP_COLUMN, column, text);
}

static bool is_shown(const struct options_row *row, enum options_group group,
                     enum options_command command)
{
    return row->group == group && (row->commands & command) != 0;
}

static bool has_rows(enum options_group group, enum options_command command)
{
    for (enum options_id id = 0; id < OPTION_COUNT; id++) {
        if (is_shown(&options_table()[id], group, command)) {
            return true;
        }
    }
    return false;
}

void options_doc_help(enum options_command command, struct mu_buf *text)
{
    const char *gap = "";
    for (enum options_group group = 0; group < OPTIONS_GROUP_COUNT; group++) {
        if (!has_rows(group, command)) {
            continue;
        }
        mu_buf_printf(text, "%s%s:\n", gap, options_group_title(group));
        gap = "\n";
        for (enum options_id id = 0; id < OPTION_COUNT; id++) {
            if (is_shown(&options_table()[id], group, command)) {
                help_row(&options_table()[id], text);
            }
        }
    }
}

/* A dot or quote that begins a line would be a macro; \& keeps it text. */
static void man_char(char c, bool is_literal, struct mu_buf *text)
{
    bool begins_line = text->len == 0 || text->data[text->len - 1] == '\n';
    if (begins_line && (c == '.' || c == '\'')) {
        mu_buf_printf(text, "\\&");
    }
    if (c == '\\') {
        mu_buf_printf(text, "\\e");
    } else if (c == '-' && is_literal) {
        mu_buf_printf(text, "\\-");
    } else {
        mu_buf_append_u8(text, (uint8_t)c);
    }
}

static void man_literal(const char *word, size_t len, struct mu_buf *text)
{
    for (size_t i = 0; i < len; i++) {
        man_char(word[i], true, text);
    }
}

/* Length of the option at `p`, "--name", without the punctuation that follows; 0 if it is none. */
static size_t option_len(const char *p)
{
    if (p[0] != '-' || p[1] != '-' || !isalpha((unsigned char)p[2])) {
        return 0;
    }
    size_t n = 2;
    while (isalnum((unsigned char)p[n]) || p[n] == '-') {
        n++;
    }
    return n;
}

void options_doc_man_prose(const char *prose, struct mu_buf *text)
{
    for (const char *p = prose; *p != '\0';) {
        size_t option = option_len(p);
        size_t literal = p[0] == '`' ? strcspn(p + 1, "`") : 0;
        if (option > 0) {
            mu_buf_printf(text, "\\fB");
            man_literal(p, option, text);
            mu_buf_printf(text, "\\fR");
            p += option;
        } else if (literal > 0 && p[1 + literal] == '`') {
            mu_buf_printf(text, "\\fB");
            man_literal(p + 1, literal, text);
            mu_buf_printf(text, "\\fR");
            p += literal + 2;
        } else if (strchr(".?", p[0]) != NULL && p[1] == ' ') {
            mu_buf_printf(text, "%c\n", p[0]);
            p += 2;
        } else {
            man_char(p[0], false, text);
            p++;
        }
    }
    mu_buf_append_u8(text, '\n');
}

void options_doc_man_code(const char *line, struct mu_buf *text)
{
    man_literal(line, strlen(line), text);
    mu_buf_append_u8(text, '\n');
}

static void man_row(const struct options_row *row, struct mu_buf *text)
{
    mu_autofree char *help = full_help(row);
    mu_buf_printf(text, ".It ");
    if (row->short_name != 0) {
        mu_buf_printf(text, "Fl %c , ", row->short_name);
    }
    mu_buf_printf(text, "Fl \\-");
    man_literal(row->name, strlen(row->name), text);
    if (row->value_name != NULL) {
        mu_buf_printf(text, " Ar %s", row->value_name);
    }
    mu_buf_append_u8(text, '\n');
    options_doc_man_prose(help, text);
}

void options_doc_man(enum options_command command, struct mu_buf *text)
{
    for (enum options_group group = 0; group < OPTIONS_GROUP_COUNT; group++) {
        if (!has_rows(group, command)) {
            continue;
        }
        mu_buf_printf(text, ".Ss %s\n.Bl -tag -width Ds\n", options_group_title(group));
        for (enum options_id id = 0; id < OPTION_COUNT; id++) {
            if (is_shown(&options_table()[id], group, command)) {
                man_row(&options_table()[id], text);
            }
        }
        mu_buf_printf(text, ".El\n");
    }
}
