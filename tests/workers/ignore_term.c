/* SPDX-License-Identifier: Apache-2.0 */
/* ignore_term: ignore what asks politely, say "ready", stay for ever. */
#include <signal.h>
#include <unistd.h>

int main(void)
{
    static const char text[] = "ready\n";
    signal(SIGTERM, SIG_IGN);
    signal(SIGINT, SIG_IGN);
    signal(SIGHUP, SIG_IGN);
    if (write(STDERR_FILENO, text, sizeof(text) - 1) < 0) {
        return 99;
    }
    for (;;) {
        pause();
    }
}
