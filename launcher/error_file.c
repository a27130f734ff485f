/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/error_file.h"

#include "muster/mem.h"

#include <fcntl.h>
#include <jansson.h>

enum { MAX_FILE = 1024 * 1024 };

char *error_file_parse(const char *text, size_t len)
{
    json_t *document = json_loadb(text, len, 0, NULL);
    const json_t *message = json_object_get(document, "message");
    if (json_is_object(message)) {
        message = json_object_get(message, "message");
    }
    const char *value = json_string_value(message);
    char *copy = value != NULL && value[0] != '\0' ? mu_strdup(value) : NULL;
    json_decref(document);
    return copy;
}

char *error_file_read(const char *path)
{
    /* Not a FIFO's writer, not a terminal: what is there must not make the agent wait. */
    mu_autoclose int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return NULL;
    }
    mu_autofree char *text = mu_alloc(MAX_FILE);
    size_t len = 0;
    while (len < MAX_FILE) {
        ssize_t n = read(fd, text + len, MAX_FILE - len);
        if (n <= 0) {
            break;
        }
        len += (size_t)n;
    }
    return error_file_parse(text, len);
}
