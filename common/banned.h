/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Included before every file of the project (see Makefile). Functions that have a better
 * replacement here do not compile; functions that must have one owner compile only there.
 */
#pragma once

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

/* Unbounded, or blind to errors: snprintf, mu_parse_int, strchr. */
#pragma GCC poison strcpy strcat sprintf vsprintf strtok gets atoi atol atoll
/* A shell between us and a program. */
#pragma GCC poison system popen
/* Static buffers. */
#pragma GCC poison localtime gmtime ctime asctime
