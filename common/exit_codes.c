/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/exit_codes.h"

#include <ctype.h>
#include <string.h>

enum { FIRST_CODE = 1, LAST_CODE = 8 * EXIT_CODES_BYTES - 1 };

/* One to three digits; -1 if there is no code here. */
static int read_code(const char **text)
{
    int code = 0;
    size_t len = 0;
    while (len < 4 && isdigit((unsigned char)(*text)[len])) {
        code = 10 * code + ((*text)[len++] - '0');
    }
    *text += len;
    return len > 0 && code >= FIRST_CODE && code <= LAST_CODE ? code : -1;
}

/* "64" or "64-78". */
static bool read_range(const char **text, struct exit_codes *set)
{
    int first = read_code(text);
    int last = first;
    if (first >= 0 && **text == '-') {
        ++*text;
        last = read_code(text);
    }
    if (first < 0 || last < first) {
        return false;
    }
    for (int code = first; code <= last; code++) {
        set->bits[code / 8] |= (uint8_t)(1U << (unsigned)(code % 8));
    }
    return true;
}

int exit_codes_parse(const char *text, struct exit_codes *ret_set, struct mu_err *err)
{
    struct exit_codes set = {{0}};
    const char *rest = text;
    bool is_good = true;
    while (is_good && rest[0] != '\0') {
        is_good = read_range(&rest, &set);
        if (is_good && rest[0] == ',') {
            rest++;
            is_good = rest[0] != '\0';
        } else {
            is_good = is_good && rest[0] == '\0';
        }
    }
    if (!is_good) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "'%.64s' is not a list of exit codes from %d to %d such as 2,64-78", text,
                          FIRST_CODE, LAST_CODE);
    }
    *ret_set = set;
    return 0;
}

int exit_codes_common(const struct exit_codes *a, const struct exit_codes *b)
{
    for (int code = 0; code <= LAST_CODE; code++) {
        if (exit_codes_has(a, code) && exit_codes_has(b, code)) {
            return code;
        }
    }
    return -1;
}
