package estate

// Environment returns the environment of that name.
func (e *Estate) Environment(name string) (Environment, bool) {
	for _, env := range e.Environments {
		if env.Name == name {
			return env, true
		}
	}
	return Environment{}, false
}

// Before returns the environment that a release must have reached before it may enter name.
func (e *Estate) Before(name string) (Environment, bool) {
	for i, env := range e.Environments {
		if env.Name == name && i > 0 {
			return e.Environments[i-1], true
		}
	}
	return Environment{}, false
}

// TenantsOf returns the environment's tenants.
func (e *Estate) TenantsOf(environment string) []Tenant {
	var found []Tenant
	for _, t := range e.Tenants {
		if t.Environment == environment {
			found = append(found, t)
		}
	}
	return found
}

// Classification returns what the estate declares for a release known by any of the names given.
func (e *Estate) Classification(names ...string) (Classification, bool) {
	for _, c := range e.Classifications {
		for _, name := range names {
			if name != "" && c.Release == name {
				return c, true
			}
		}
	}
	return Classification{}, false
}

// Breaks says whether the old release cannot work on the database that the new one has updated.
// An unknown class breaks: evidence missing is not evidence of health.
func (c Class) Breaks() bool { return c != Swap && c != Compatible }

// AtLeast returns the more careful of two classes.
func (c Class) AtLeast(other Class) Class {
	rank := map[Class]int{Swap: 1, Compatible: 2, Breaking: 3}
	if rank[other] > rank[c] {
		return other
	}
	return c
}
