/* The cases of each instruction. Each runs one random problem and fails the test when it is not solved. */
#ifndef COL_CTS_CASES_H
#define COL_CTS_CASES_H

#include "tests/cts/cts.h"

void case_matmul(cts_case *c);
void case_epilogue(cts_case *c);
void case_copy(cts_case *c);
void case_fill(cts_case *c);
void case_update_slice(cts_case *c);
void case_scatter_add(cts_case *c);
void case_attention_forward(cts_case *c);
void case_attention_backward(cts_case *c);
void case_attention_cached(cts_case *c);
void case_convolution(cts_case *c);
void case_pool(cts_case *c);

#endif
