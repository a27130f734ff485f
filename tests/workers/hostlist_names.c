/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Each line of standard input as a list of hosts: its names between spaces, or "!" and why it is
 * none.
 */
#include "launcher/hostlist.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    char *line = NULL;
    size_t cap = 0;
    while (getline(&line, &cap, stdin) > 0) {
        line[strcspn(line, "\n")] = '\0';
        struct hostlist list = {0};
        struct mu_err err = MU_ERR_INIT;
        if (hostlist_parse(line, &list, &err) != 0) {
            printf("! %s\n", err.text);
            continue;
        }
        for (size_t i = 0; i < list.count; i++) {
            printf("%s%s", i > 0 ? " " : "", list.names[i]);
        }
        printf("\n");
        hostlist_fini(&list);
    }
    free(line);
    return 0;
}
