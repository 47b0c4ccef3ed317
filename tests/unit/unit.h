/* What every unit test starts with: cmocka and the headers it wants first, and assertions on col_status. */
#ifndef COL_UNIT_UNIT_H
#define COL_UNIT_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "ir/base/status.h"

static inline void unit_check_ok(col_status status, const char *file, int line)
{
    if (!status) return;
    print_error("unexpected error (%d): %s\n", (int)col_error_code(status), col_error_message(status));
    col_error_free(status);
    _fail(file, line);
}

static inline void unit_check_fails(col_status status, col_code code, const char *part, const char *file,
                                    int line)
{
    bool right = status && col_error_code(status) == code && strstr(col_error_message(status), part);
    if (!right) {
        print_error("expected error (%d) with '%s', got (%d): %s\n", (int)code, part,
                    (int)col_error_code(status), col_error_message(status));
    }
    col_error_free(status);
    if (!right) _fail(file, line);
}

/* The call succeeds. */
#define assert_ok(expr) unit_check_ok((expr), __FILE__, __LINE__)
/* The call fails with this code, and its message holds `part`. Frees the error. */
#define assert_fails(expr, code, part) unit_check_fails((expr), (code), (part), __FILE__, __LINE__)

#endif
