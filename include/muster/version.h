/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The version of muster: major.minor.patch.
 */
#pragma once

#define MUSTER_VERSION "0.1.0"
