"""`pipeline(…)`: the engine in a program, called as LMDeploy's users do."""
