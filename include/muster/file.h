/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Small files, read whole. Whatever is in the file's place: a FIFO or a terminal is not waited for.
 * A network file system may make them wait all the same. Threading: any.
 */
#pragma once

#include <stddef.h>
#include <sys/types.h>

/*
 * Read the beginning of a file, up to `size` - 1 bytes, and end it with a NUL; it may have others.
 * Returns how many bytes, or -1 and errno.
 */
ssize_t mu_file_read(const char *path, char *text, size_t size);

/*
 * The whole file, with a NUL behind it, owned by the caller; its length without that goes to
 * `ret_len`, unless it is NULL. NULL if it cannot be read, or has more than `max` bytes (EFBIG).
 */
char *mu_file_text(const char *path, size_t max, size_t *ret_len);
