/* Predicted seconds of a plan's instructions, and which of its programs make a step. */
#ifndef COL_FRONTEND_PREDICT_H
#define COL_FRONTEND_PREDICT_H

#include "ir/plan/plan.h"
#include "passes/cost.h"

/* Fills in `seconds` of every instruction. */
void col_predict(const col_machine *machine, const col_plan *plan);

/* What the cost model takes the instruction for. */
col_cost_class col_predict_class(const col_plan_instruction *instruction);

/* Whether it sends data between ranks; its seconds are then the links'. */
bool col_predict_communicates(const col_plan_instruction *instruction);

/* How often the program runs in one step: in a training step, a forward pass, or for one generated token. */
int64_t col_predict_runs(const col_plan *plan, const col_plan_program *program);

typedef struct col_predicted_communication {
    double seconds;                                   /* of the step in which ranks communicate */
    double bytes, by_kind[COL_PLAN_COLLECTIVE_KINDS]; /* that each sends, on average */
} col_predicted_communication;
void col_predict_communication(const col_plan *plan, col_predicted_communication *out);
/* Sum of `seconds` over the program, and over the step. */
double col_predict_program(const col_plan_program *program);
double col_predict_step(const col_plan *plan);

#endif
