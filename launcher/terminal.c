/* SPDX-License-Identifier: Apache-2.0 */
#include "launcher/terminal.h"

#include <signal.h>
#include <string.h>
#include <unistd.h>

static bool is_in_foreground(int fd)
{
    return tcgetpgrp(fd) == getpgrp();
}

void terminal_save(struct terminal *ret_terminal)
{
    *ret_terminal = (struct terminal){.fd = -1};
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        struct termios settings;
        if (is_in_foreground(fd) && tcgetattr(fd, &settings) == 0) {
            *ret_terminal = (struct terminal){.is_saved = true, .fd = fd, .settings = settings};
            return;
        }
    }
}

static bool is_equal(const struct termios *a, const struct termios *b)
{
    return a->c_iflag == b->c_iflag && a->c_oflag == b->c_oflag && a->c_cflag == b->c_cflag &&
           a->c_lflag == b->c_lflag && a->c_line == b->c_line &&
           memcmp(a->c_cc, b->c_cc, sizeof(a->c_cc)) == 0;
}

void terminal_restore(const struct terminal *t)
{
    struct termios now;
    if (!t->is_saved || !is_in_foreground(t->fd) || tcgetattr(t->fd, &now) != 0 ||
        is_equal(&now, &t->settings)) {
        return;
    }
    /* Should the foreground have gone this very moment, SIGTTOU must not stop us. */
    sigset_t ttou;
    sigset_t before;
    sigemptyset(&ttou);
    sigaddset(&ttou, SIGTTOU);
    sigprocmask(SIG_BLOCK, &ttou, &before);
    tcsetattr(t->fd, TCSANOW, &t->settings); /* not TCSADRAIN: that waits for a stopped terminal */
    sigprocmask(SIG_SETMASK, &before, NULL);
}
