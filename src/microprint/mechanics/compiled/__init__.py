"""The law of `phenopowerlaw` compiled for the CPU: the same equations, many times faster."""
