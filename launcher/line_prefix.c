/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/line_prefix.h"

#include "muster/buf.h"

#include <ctype.h>
#include <stdbool.h>
#include <string.h>

static size_t name_len(const char *p)
{
    size_t len = 0;
    while (p[len] == '_' || isalpha((unsigned char)p[len]) ||
           (len > 0 && isdigit((unsigned char)p[len]))) {
        len++;
    }
    return len;
}

static bool append_value(struct mu_slice name, const struct line_prefix_names *names,
                         struct mu_buf *out)
{
    if (mu_slice_eq(name, mu_slice_of("role_name"))) {
        mu_buf_append(out, names->role_name, strlen(names->role_name));
    } else if (mu_slice_eq(name, mu_slice_of("local_rank"))) {
        mu_buf_printf(out, "%u", names->local_rank);
    } else if (mu_slice_eq(name, mu_slice_of("rank"))) {
        mu_buf_printf(out, "%u", names->rank);
    } else {
        return false;
    }
    return true;
}

/* What a '$' at `p` stands for is appended. Returns the length of the reference. */
static size_t append_reference(const char *p, const struct line_prefix_names *names,
                               struct mu_buf *out)
{
    bool is_braced = p[1] == '{';
    struct mu_slice name = {.ptr = p + (is_braced ? 2 : 1)};
    name.len = name_len(name.ptr);
    size_t len = (size_t)(name.ptr - p) + name.len + (is_braced ? 1 : 0);
    bool is_whole = name.len > 0 && (!is_braced || name.ptr[name.len] == '}');
    if (is_whole && append_value(name, names, out)) {
        return len;
    }
    mu_buf_append_u8(out, '$');
    return p[1] == '$' ? 2 : 1;
}

char *line_prefix_expand(const char *template, const struct line_prefix_names *names)
{
    struct mu_buf out = {0};
    while (*template != '\0') {
        if (*template == '$') {
            template += append_reference(template, names, &out);
        } else {
            mu_buf_append_u8(&out, (uint8_t) * template ++);
        }
    }
    return mu_buf_take_text(&out);
}
