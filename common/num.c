/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/num.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* No leading white space, no '+': what strtoll would forgive, a typo should not be. */
static int parse_whole(const char *text, int64_t *ret_value)
{
    const char *digits = text[0] == '-' ? text + 1 : text;
    if (!isdigit((unsigned char)digits[0])) {
        return -1;
    }
    char *end = NULL;
    errno = 0;
    long long v = strtoll(text, &end, 10);
    if (errno != 0 || *end != '\0') {
        return -1;
    }
    *ret_value = v;
    return 0;
}

int mu_parse_int(const char *text, int64_t min, int64_t max, int64_t *ret_value, struct mu_err *err)
{
    int64_t v;
    if (parse_whole(text, &v) != 0 || v < min || v > max) {
        return mu_err_set(err, MU_E_USAGE, 0, "'%s' is not a whole number from %lld to %lld", text,
                          (long long)min, (long long)max);
    }
    *ret_value = v;
    return 0;
}

int mu_parse_duration(const char *text, int64_t *ret_ms, struct mu_err *err)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"", 1e3}, {"s", 1e3}, {"ms", 1}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    const double ten_years_ms = 10 * 365 * 86400e3;

    char *end = NULL;
    if (isdigit((unsigned char)text[0]) && strpbrk(text, "xXpPeEnN") == NULL) {
        double v = strtod(text, &end);
        for (size_t i = 0; i < sizeof(units) / sizeof(units[0]); i++) {
            if (strcmp(end, units[i].unit) == 0 && v * units[i].ms <= ten_years_ms) {
                *ret_ms = (int64_t)(v * units[i].ms + 0.5);
                return 0;
            }
        }
    }
    return mu_err_set(err, MU_E_USAGE, 0,
                      "'%s' is not a time span such as 30, 1.5s, 500ms, 10m or 2h", text);
}

int mu_parse_size(const char *text, int64_t *ret_bytes, struct mu_err *err)
{
    static const char units[] = "KMGT";
    const int64_t limit = INT64_C(1) << 60;
    char digits[24];
    size_t len = strspn(text, "0123456789");
    const char *unit = text[len] != '\0' ? strchr(units, text[len]) : NULL;
    int shift = unit != NULL ? 10 * (int)(unit - units + 1) : 0;
    int64_t v;
    if (len > 0 && len < sizeof(digits) && (text[len] == '\0' || unit != NULL) &&
        (unit == NULL || text[len + 1] == '\0')) {
        memcpy(digits, text, len);
        digits[len] = '\0';
        if (parse_whole(digits, &v) == 0 && v <= limit >> shift) {
            *ret_bytes = v << shift;
            return 0;
        }
    }
    return mu_err_set(err, MU_E_USAGE, 0, "'%s' is not a number of bytes such as 512M or 4G", text);
}

void mu_format_size(uint64_t bytes, char text[MU_SIZE_TEXT])
{
    static const char units[] = "TGMK";
    for (int shift = 40; shift > 0; shift -= 10) {
        if (bytes > 0 && bytes % (UINT64_C(1) << shift) == 0) {
            snprintf(text, MU_SIZE_TEXT, "%" PRIu64 "%c", bytes >> shift, units[4 - shift / 10]);
            return;
        }
    }
    snprintf(text, MU_SIZE_TEXT, "%" PRIu64, bytes);
}

int mu_parse_range(const char *text, int64_t limit, int64_t *ret_min, int64_t *ret_max,
                   struct mu_err *err)
{
    char first[24];
    const char *colon = strchr(text, ':');
    size_t len = colon != NULL ? (size_t)(colon - text) : strlen(text);
    int64_t min;
    int64_t max;
    if (len < sizeof(first)) {
        memcpy(first, text, len);
        first[len] = '\0';
        if (parse_whole(first, &min) == 0 && min >= 1) {
            max = min;
            if ((colon == NULL || parse_whole(colon + 1, &max) == 0) && min <= max &&
                max <= limit) {
                *ret_min = min;
                *ret_max = max;
                return 0;
            }
        }
    }
    return mu_err_set(err, MU_E_USAGE, 0,
                      "'%s' is neither a number N nor a range MIN:MAX with 1 <= MIN <= MAX <= %lld",
                      text, (long long)limit);
}

bool mu_find_number(const char *text, const char *name, uint64_t *ret_value)
{
    size_t len = strlen(name);
    for (const char *line = text; line != NULL; line = strchr(line, '\n')) {
        line += line[0] == '\n';
        if (strncmp(line, name, len) == 0 && line[len] == ' ') {
            char *end;
            errno = 0;
            unsigned long long value = strtoull(line + len + 1, &end, 10);
            if (errno != 0 || end == line + len + 1) {
                return false;
            }
            *ret_value = value;
            return true;
        }
    }
    return false;
}

bool mu_time_format(int64_t unix_ms, char text[MU_TIME_SIZE])
{
    static const int64_t end_of_9999_ms = INT64_C(253402300800000);
    if (unix_ms <= 0 || unix_ms >= end_of_9999_ms) {
        return false;
    }
    time_t seconds = (time_t)(unix_ms / 1000);
    struct tm parts;
    return gmtime_r(&seconds, &parts) != NULL &&
           strftime(text, MU_TIME_SIZE, "%Y-%m-%dT%H:%M:%SZ", &parts) > 0;
}
