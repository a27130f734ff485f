/* SPDX-License-Identifier: Apache-2.0 */
#include "muster/names.h"

#include "muster/limits.h"

#include <ctype.h>
#include <stdint.h>
#include <string.h>

bool mu_names_is_presentable(struct mu_slice name)
{
    if (name.len < 1 || name.len > MU_MAX_NAME) {
        return false;
    }
    for (size_t i = 0; i < name.len; i++) {
        if (name.ptr[i] < '!' || name.ptr[i] > '~') {
            return false;
        }
    }
    return true;
}

/* Bytes of the character of UTF-8 that `s` begins with; 0: of none, or of a control character. */
static size_t shown_char(struct mu_slice s)
{
    static const uint32_t least[] = {0, 0, 0x80, 0x800, 0x10000};
    unsigned char first = (unsigned char)s.ptr[0];
    if (first < 0x80) {
        return first >= ' ' && first != 0x7f;
    }
    size_t size = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
    if (first < 0xc2 || first > 0xf4 || size > s.len) {
        return 0;
    }
    uint32_t code = first & (0x7fU >> size);
    for (size_t i = 1; i < size; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if ((c & 0xc0) != 0x80) {
            return 0;
        }
        code = code << 6 | (c & 0x3fU);
    }
    bool is_surrogate = code >= 0xd800 && code <= 0xdfff;
    bool is_control = code < 0xa0;
    bool is_code = code >= least[size] && code <= 0x10ffff && !is_surrogate;
    return is_code && !is_control ? size : 0;
}

bool mu_names_is_label(struct mu_slice name)
{
    if (name.len < 1 || name.len > MU_MAX_NAME) {
        return false;
    }
    while (name.len > 0) {
        size_t size = shown_char(name);
        if (size == 0) {
            return false;
        }
        name.ptr += size;
        name.len -= size;
    }
    return true;
}

char *mu_names_shown(const char *text, size_t max)
{
    struct mu_slice rest = mu_slice_of(text);
    struct mu_buf shown = {0};
    while (rest.len > 0) {
        size_t size = shown_char(rest);
        size_t taken = size > 0 ? size : 1;
        if (shown.len + taken > max) {
            break;
        }
        mu_buf_append(&shown, size > 0 ? rest.ptr : "?", taken);
        rest.ptr += taken;
        rest.len -= taken;
    }
    return mu_buf_take_text(&shown);
}

int mu_names_natural_compare(const char *a, const char *b)
{
    const char *p = a;
    const char *q = b;
    while (*p != '\0' && *q != '\0') {
        if (isdigit((unsigned char)*p) && isdigit((unsigned char)*q)) {
            p += strspn(p, "0");
            q += strspn(q, "0");
            size_t np = strspn(p, "0123456789");
            size_t nq = strspn(q, "0123456789");
            if (np != nq) {
                return np < nq ? -1 : 1;
            }
            int d = memcmp(p, q, np);
            if (d != 0) {
                return d;
            }
            p += np;
            q += nq;
        } else {
            if (*p != *q) {
                return (unsigned char)*p < (unsigned char)*q ? -1 : 1;
            }
            p++;
            q++;
        }
    }
    if (*p != *q) {
        return *p == '\0' ? -1 : 1;
    }
    return strcmp(a, b);
}

static char fold(char c)
{
    return c == '_' ? '-' : (char)tolower((unsigned char)c);
}

enum { MAX_WORD = 64 };

/* Edit distance with transpositions of neighbours counted as one; SIZE_MAX for long words. */
static size_t distance(const char *a, const char *b)
{
    size_t na = strlen(a);
    size_t nb = strlen(b);
    if (na > MAX_WORD || nb > MAX_WORD) {
        return (size_t)-1;
    }
    size_t rows[3][MAX_WORD + 1];
    for (size_t j = 0; j <= nb; j++) {
        rows[0][j] = j;
    }
    for (size_t i = 1; i <= na; i++) {
        size_t *row = rows[i % 3];
        const size_t *above = rows[(i + 2) % 3];
        const size_t *above2 = rows[(i + 1) % 3];
        row[0] = i;
        for (size_t j = 1; j <= nb; j++) {
            bool same = fold(a[i - 1]) == fold(b[j - 1]);
            size_t best = above[j - 1] + (same ? 0 : 1);
            best = above[j] + 1 < best ? above[j] + 1 : best;
            best = row[j - 1] + 1 < best ? row[j - 1] + 1 : best;
            if (i > 1 && j > 1 && fold(a[i - 1]) == fold(b[j - 2]) &&
                fold(a[i - 2]) == fold(b[j - 1]) && above2[j - 2] + 1 < best) {
                best = above2[j - 2] + 1;
            }
            row[j] = best;
        }
    }
    return rows[na % 3][nb];
}

const char *mu_names_nearest(const char *word, const char *const *names, size_t count)
{
    const char *nearest = NULL;
    size_t len = strlen(word);
    if (len == 0) {
        return NULL;
    }
    /* One typo in a short word, more in a long one, but some letter must be right. */
    size_t best = len / 3 + 1 < len ? len / 3 + 1 : len - 1;
    for (size_t i = 0; i < count; i++) {
        size_t d = distance(word, names[i]);
        if (d < best || (d == best && nearest == NULL)) {
            best = d;
            nearest = names[i];
        }
    }
    return nearest;
}
