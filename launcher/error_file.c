/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/error_file.h"

#include "muster/file.h"
#include "muster/mem.h"

#include <jansson.h>
#include <sys/stat.h>

enum { MAX_FILE = 1024 * 1024 };

/* A copy of a text that is not empty; else NULL. */
static char *text_of(const json_t *value)
{
    const char *text = json_string_value(value);
    return text != NULL && text[0] != '\0' ? mu_strdup(text) : NULL;
}

bool error_file_parse(const char *text, size_t len, struct error_file *ret)
{
    json_t *document = json_loadb(text, len, 0, NULL);
    const json_t *message = json_object_get(document, "message");
    struct error_file f = {0};
    if (json_is_object(message)) {
        const json_t *extra = json_object_get(message, "extraInfo");
        f.callstack = text_of(json_object_get(extra, "py_callstack"));
        message = json_object_get(message, "message");
    }
    f.message = text_of(message);
    json_decref(document);
    if (f.message == NULL) {
        free(f.callstack);
        return false;
    }
    f.text = mu_alloc(len + 1);
    memcpy(f.text, text, len);
    *ret = f;
    return true;
}

bool error_file_read(const char *path, struct error_file *ret)
{
    struct stat st;
    if (stat(path, &st) != 0 || !S_ISREG(st.st_mode)) {
        return false;
    }
    size_t len;
    mu_autofree char *text = mu_file_text(path, MAX_FILE, &len);
    return text != NULL && error_file_parse(text, len, ret);
}

void error_file_fini(struct error_file *f)
{
    free(f->text);
    free(f->message);
    free(f->callstack);
    *f = (struct error_file){0};
}

static json_t *made_of(const char *sentence, int64_t unix_ms)
{
    char timestamp[24];
    snprintf(timestamp, sizeof(timestamp), "%lld", (long long)unix_ms / 1000);
    return json_pack("{s:{s:s, s:{s:s, s:s}}}", "message", "message", sentence, "extraInfo",
                     "py_callstack", sentence, "timestamp", timestamp);
}

char *error_file_pass_on(const struct error_file *worker, const char *sentence, int64_t unix_ms,
                         struct outcome outcome)
{
    json_t *document = worker != NULL ? json_loads(worker->text, 0, NULL) : NULL;
    if (document == NULL) {
        document = made_of(sentence, unix_ms);
    }
    int code = outcome_python_status(outcome);
    json_t *message = json_object_get(document, "message");
    if (json_is_object(message)) {
        json_object_set_new(message, "errorCode", json_integer(code));
    }
    char *text = json_dumps(document, JSON_COMPACT);
    json_decref(document);
    return text;
}
