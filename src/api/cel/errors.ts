/** The expression cannot be compiled; the message is in the manner of cel-go, with line, column and a caret. */
export class CelCompileError extends Error {
  override readonly name = "CelCompileError";
}

/** The expression has no value for these variables: "no such key: foo". */
export class CelEvaluationError extends Error {
  override readonly name = "CelEvaluationError";
}

/** The expression was stopped: it costs more than is allowed. */
export class CelBudgetError extends Error {
  override readonly name = "CelBudgetError";
}
