/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/shell_words.h"

#include "muster/mem.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

static bool is_blank(char c)
{
    return c == ' ' || c == '\t' || c == '\n';
}

/* The word that begins at `p`. Returns where it ends; NULL: a quote has no end. */
static const char *take_word(const char *p, struct mu_buf *word)
{
    char quote = '\0';
    for (; *p != '\0' && (quote != '\0' || !is_blank(*p)); p++) {
        if (quote == '\0' && (*p == '\'' || *p == '"')) {
            quote = *p;
        } else if (quote != '\0' && *p == quote) {
            quote = '\0';
        } else if (*p == '\\' && quote != '\'' && p[1] != '\0') {
            mu_buf_append_u8(word, (uint8_t) * ++p);
        } else {
            mu_buf_append_u8(word, (uint8_t)*p);
        }
    }
    return quote == '\0' ? p : NULL;
}

char **shell_words_split(const char *text, size_t *ret_count, struct mu_err *err)
{
    char **words = mu_calloc(SHELL_WORDS_MAX + 1, sizeof(*words));
    size_t count = 0;
    const char *p = text;
    while (p != NULL && count < SHELL_WORDS_MAX) {
        while (is_blank(*p)) {
            p++;
        }
        if (*p == '\0') {
            break;
        }
        struct mu_buf word = {0};
        p = take_word(p, &word);
        words[count++] = mu_buf_take_text(&word);
    }
    if (p == NULL || *p != '\0' || count == 0) {
        shell_words_free(words);
        mu_err_set(err, MU_E_USAGE, 0, "'%.64s' %s", text,
                   p == NULL ? "has a quote without its end"
                             : (count == 0 ? "is no command" : "has too many words"));
        return NULL;
    }
    *ret_count = count;
    return words;
}

void shell_words_free(char **words)
{
    for (char **word = words; word != NULL && *word != NULL; word++) {
        free(*word);
    }
    free(words);
}

/* What no shell takes for anything but itself, wherever it stands. */
static bool is_plain(const char *word)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                "/._-+,@";
    return word[0] != '\0' && word[strspn(word, plain)] == '\0';
}

int shell_words_quote(const char *word, struct mu_buf *out, struct mu_err *err)
{
    if (is_plain(word)) {
        mu_buf_append(out, word, strlen(word));
        return 0;
    }
    const char *bad = strpbrk(word, "'\\!\n\r");
    if (bad != NULL) {
        return mu_err_set(err, MU_E_USAGE, 0,
                          "'%s' has a quote, a backslash, an exclamation mark or a line break in "
                          "it, which login shells read differently",
                          word);
    }
    mu_buf_printf(out, "'%s'", word);
    return 0;
}
