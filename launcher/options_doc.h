/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options of a command as text, from the table alone: for --help, for the manual. Threading:
 * any.
 */
#pragma once

#include "launcher/options.h"
#include "muster/buf.h"

/* Columns of a terminal that help is written for. */
enum { OPTIONS_DOC_WIDTH = 80 };

/* Append the options of `command`, by group, for a terminal. */
void options_doc_help(enum options_command command, struct mu_buf *text);

/* The same as mdoc(7): one .Ss with one list per group. */
void options_doc_man(enum options_command command, struct mu_buf *text);

/*
 * Append `prose` wrapped at OPTIONS_DOC_WIDTH, every line indented by `indent`; the first line
 * continues at `column`, where output stands already. Backquotes become quotes. Ends the line.
 */
void options_doc_wrap(const char *prose, int indent, int column, struct mu_buf *text);

/* Append `prose` as mdoc(7), a line per sentence. Backquoted words and options are bold. */
void options_doc_man_prose(const char *prose, struct mu_buf *text);

/* Append one line of mdoc(7) that is to be copied by the reader: dashes stay ASCII. */
void options_doc_man_code(const char *line, struct mu_buf *text);
