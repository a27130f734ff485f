/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The settings of the terminal muster was started from, handed back as they were: a worker, or a
 * debugger in it, that is killed in raw mode or while it asks for a password leaves a terminal
 * that shows no typing. What an escape sequence did (the alternate screen, colours) cannot be seen
 * and stays.
 *
 * Threading: any.
 */
#pragma once

#include <stdbool.h>
#include <termios.h>

struct terminal {
    bool is_saved; /* there is a terminal, and we were in its foreground */
    int fd;        /* the standard descriptor that is it */
    struct termios settings;
};

/* Note the settings, if a standard descriptor is a terminal whose foreground we are in. */
void terminal_save(struct terminal *ret_terminal);

/*
 * Set them again if they changed and we are still in the foreground: from the background it is
 * somebody else's terminal by now. Never waits; may be called again.
 */
void terminal_restore(const struct terminal *t);
